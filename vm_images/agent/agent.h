/* SPDX-License-Identifier: Apache-2.0 */
/* Shared declarations of the guest agent; README.md describes the protocol. */
#ifndef HARNESS_AGENT_H
#define HARNESS_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENT_VERSION "1.0"
#define PROTOCOL_VERSION 1
#define AGENT_PORT_NAME "org.harness.agent.0"

#define BLOCK_BYTES 4096UL
#define CHUNK_BYTES (1UL << 20)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* buf.c: growable bytes. Running out of memory is fatal: nothing sensible is left to report with. */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void fatal(const char *what);
void buf_add(struct buf *b, const void *data, size_t len);
char *buf_extend(struct buf *b, size_t len);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_encoded(struct buf *b, const char *text);
void buf_free(struct buf *b);
/* Append "CALL: ERRNO: OBJECT" for the current errno; returns -errno. */
int fail(struct buf *out, const char *call, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int fail_with(int error, struct buf *out, const char *call, const char *object);
bool parse_u64(const char *text, uint64_t *value);
uint64_t now_us(void);

/* blake2b.c: BLAKE2b without key (RFC 7693), digests of 1 to 64 bytes. */
struct blake2b {
	uint64_t h[8];
	uint64_t count;
	uint8_t block[128];
	size_t fill;
	size_t digest_bytes;
};

void blake2b_init(struct blake2b *s, size_t digest_bytes);
void blake2b_update(struct blake2b *s, const void *data, size_t len);
void blake2b_final(struct blake2b *s, uint8_t *digest);
/* Finish @s and append the digest to @out in hexadecimal. */
void blake2b_hex(struct blake2b *s, struct buf *out);

/* proto.c: frames over the byte stream to the host. */
enum frame_type {
	FRAME_HELLO = 1,
	FRAME_REQUEST = 2,
	FRAME_RESPONSE = 3,
	FRAME_EVENT = 4,
	FRAME_CONTINUE = 5,
	FRAME_ERROR = 6,
};

struct frame {
	uint16_t type;
	uint32_t id;
	uint32_t len;
	const char *payload; /* valid until the next conn_next() */
};

struct conn {
	int in;
	int out;
	bool port; /* a virtio port: the host may leave and come back */
	struct buf rx;
	size_t pos;
	struct frame last;
	bool unread;
};

#define FRAME_PAYLOAD_MAX (64UL << 20)

/* The next good frame: 1, or 0 at the end of a stream (never for a virtio port). */
int conn_next(struct conn *c, struct frame *f);
/* Let the next conn_next() return the last frame again. */
void conn_unread(struct conn *c);
int conn_send(struct conn *c, uint16_t type, uint32_t id, const void *payload, size_t len);

/* main.c: whether the whole machine is ours; in a test on a host nothing may happen to it. */
extern bool owns_machine;

/* script.c: a request is a script. */
struct cmd {
	int argc;
	char **argv; /* argv[0] is the command's name */
};

void script_run(struct conn *c, uint32_t id, const char *text, size_t len);
/* For the command under way: tell the host and wait for its word; false to stop. */
bool script_event(const struct buf *event);
/* The same for the words in @line, with what is to be run when they are said. */
bool script_rendezvous(const char *line);

/* Commands: 0, -errno, or (exec) a positive exit status; failure text goes to @out. */
typedef int (*cmd_fn)(const struct cmd *cmd, struct buf *out);

/* run.c: one run of a workload. */
int cmd_begin(const struct cmd *cmd, struct buf *out);
int cmd_end(const struct cmd *cmd, struct buf *out);
bool run_keeps_going(void);
bool run_active(void);
int run_close(struct buf *out);
int handle_find(const char *name);
int handle_close(const char *name);
int handle_add(const char *name, int fd, struct buf *out);

/* ops.c: the steps of a workload. */
int cmd_step(const struct cmd *cmd, struct buf *out);

/* content.c: the self-describing bytes of a write. */
void pattern_fill(void *dst, unsigned int line, uint64_t offset, size_t len);

/* device.c, image.c: whole devices, block by block. */
bool block_is_zero(const void *block);
int device_open(const char *path, int flags, struct buf *out);
int device_length(int fd, const char *path, const char *text, uint64_t *len, struct buf *out);
int device_zero(int fd, const char *path, uint64_t offset, uint64_t len, struct buf *out);
int device_write(int fd, const char *path, const char *data, uint64_t offset, uint64_t len,
		 struct buf *out);
void device_forget_cache(int fd);
void *chunk_buffer(void);
int read_chunk(int fd, const char *path, void *dst, uint64_t offset, size_t len, struct buf *out);
int cmd_digest(const struct cmd *cmd, struct buf *out);
int cmd_blockmap(const struct cmd *cmd, struct buf *out);
int cmd_readblock(const struct cmd *cmd, struct buf *out);
int cmd_flush(const struct cmd *cmd, struct buf *out);
int cmd_zero(const struct cmd *cmd, struct buf *out);
int cmd_image_save(const struct cmd *cmd, struct buf *out);
int cmd_image_restore(const struct cmd *cmd, struct buf *out);
int cmd_image_restore_diff(const struct cmd *cmd, struct buf *out);
int cmd_image_drop(const struct cmd *cmd, struct buf *out);

/* stream.c: what a load stream does, and what its blocks look like. */
#define STREAM_OPS 8
#define STREAM_OP_BLOCKS 32 /* of a write; zeroing may be longer */

enum batch_kind { BATCH_WRITE, BATCH_ZERO, BATCH_DISCARD };
enum batch_flush { FLUSH_NONE, FLUSH_AFTER, FLUSH_AMONG, FLUSH_EACH };

struct stream_op {
	uint32_t start;
	uint32_t count;
};

struct stream_batch {
	enum batch_kind kind;
	enum batch_flush flush;
	bool verify;
	uint32_t verify_block;
	unsigned int count;
	struct stream_op ops[STREAM_OPS];
};

struct version {
	uint64_t stream;
	uint32_t batch;
	uint32_t op;
};

uint64_t random_next(uint64_t *state);
void stream_batch(uint64_t stream, uint32_t number, uint32_t blocks, struct stream_batch *b);
void version_fill(void *block, const struct version *v, uint32_t number);
/* True if @block is whole and belongs at @number: @v is what was written there. */
bool version_read(const void *block, uint32_t number, struct version *v);
/* Sector by sector, for people. */
void block_describe(const void *block, struct buf *out);

/* load.c: streams run against a device. */
int cmd_load(const struct cmd *cmd, struct buf *out);
int cmd_load_scan(const struct cmd *cmd, struct buf *out);

/* dm.c, dmwait.c: device mapper by ioctl. */
/* dm.c: device mapper by ioctl; dmwait.c: waiting for what a target, or a file, reports. */
int dm_status_text(const char *name, bool table, struct buf *text, struct buf *out);
int cmd_dm_create(const struct cmd *cmd, struct buf *out);
int cmd_dm_remove(const struct cmd *cmd, struct buf *out);
int cmd_dm_suspend(const struct cmd *cmd, struct buf *out);
int cmd_dm_resume(const struct cmd *cmd, struct buf *out);
int cmd_dm_status(const struct cmd *cmd, struct buf *out);
int cmd_dm_table(const struct cmd *cmd, struct buf *out);
int cmd_dm_message(const struct cmd *cmd, struct buf *out);
int cmd_dm_wait(const struct cmd *cmd, struct buf *out);
int cmd_file_status(const struct cmd *cmd, struct buf *out);
int cmd_file_wait(const struct cmd *cmd, struct buf *out);

/* files.c: files from the host, and back. */
int cmd_file_read(const struct cmd *cmd, struct buf *out);
int cmd_file_put(const struct cmd *cmd, struct buf *out);
int cmd_file_append(const struct cmd *cmd, struct buf *out);
int cmd_install(const struct cmd *cmd, struct buf *out);

/* tree.c, probe.c: file systems as a whole. */
int cmd_tree(const struct cmd *cmd, struct buf *out);
int cmd_probe(const struct cmd *cmd, struct buf *out);

/* netdelay.c */
int cmd_net_delay(const struct cmd *cmd, struct buf *out);

/* exec.c */
int cmd_exec(const struct cmd *cmd, struct buf *out);
/* Append what there is to read, up to a limit; false at the end. */
bool take_output(int from, struct buf *out);

/* job.c */
int cmd_job(const struct cmd *cmd, struct buf *out);
int tell(const char *path, char **words);

/* tools.c: modules, network, mounts, kernel odds and ends. */
int module_load(const char *path, const char *params);
int net_up(const char *name, const char *address, int mtu, struct buf *out);
int write_file(const char *path, const char *text, struct buf *out);
void kernel_log_mark(void);
void kernel_log_since_mark(struct buf *out);
void after_response(void);
int cmd_insmod(const struct cmd *cmd, struct buf *out);
int cmd_rmmod(const struct cmd *cmd, struct buf *out);
int cmd_key_add(const struct cmd *cmd, struct buf *out);
int cmd_netup(const struct cmd *cmd, struct buf *out);
void make_dirs(char *path);
int cmd_mount(const struct cmd *cmd, struct buf *out);
int cmd_remount(const struct cmd *cmd, struct buf *out);
int cmd_umount(const struct cmd *cmd, struct buf *out);
int cmd_drop_caches(const struct cmd *cmd, struct buf *out);
int cmd_kmsg(const struct cmd *cmd, struct buf *out);
int cmd_poweroff(const struct cmd *cmd, struct buf *out);
int cmd_panic(const struct cmd *cmd, struct buf *out);

/* init.c: being process 1 of a micro-guest. */
void init_machine(void);
/* root.c: being process 1 of a full guest until its own is found. */
void enter_root_disk(void);
void reap_orphans(void);
int open_agent_port(const char *name);

/* main.c */
int cmd_serve(const struct cmd *cmd, struct buf *out);

#endif
