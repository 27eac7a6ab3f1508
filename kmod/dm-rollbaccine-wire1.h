/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What travels between a primary and its backup.
 *
 * Everything is little-endian and versioned.  A message is one fixed header,
 * followed by exactly header.length bytes.  The decoders below are pure: they
 * touch neither sockets nor devices and believe nothing they are given.
 */
#ifndef DM_ROLLBACCINE_WIRE1_H
#define DM_ROLLBACCINE_WIRE1_H

#include <linux/build_bug.h>
#include <linux/types.h>

#define RB_WIRE_MAGIC 0x31634252u /* "RBc1" */
#define RB_WIRE_VERSION 1

#define RB_SECTOR_SHIFT 9
#define RB_BLOCK_SECTORS 8u /* 4 KiB: the logical block of the target */
#define RB_MAX_DATA_SECTORS 2048u /* 1 MiB: the largest write */

enum rb_wire_type {
	RB_WIRE_HELLO = 1, /* primary -> backup, first message */
	RB_WIRE_WELCOME = 2, /* backup -> primary, the answer */
	RB_WIRE_PING = 3, /* primary -> backup, when there is nothing to send */
	RB_WIRE_PROGRESS = 4, /* backup -> primary, how far it has come */
	RB_WIRE_WRITE = 16, /* header.sectors * 512 bytes follow */
	RB_WIRE_DISCARD = 17,
	RB_WIRE_ZEROES = 18,
	RB_WIRE_FLUSH = 19,
};

/* The prefix up to and including this operation has to become durable. */
#define RB_WIRE_F_SYNC 0x01
/* Zeroes: keep the blocks allocated. */
#define RB_WIRE_F_NOUNMAP 0x02

struct rb_wire_header {
	__le32 magic;
	__le16 version;
	__u8 type;
	__u8 flags;
	__le32 length; /* bytes that follow this header */
	__le32 sectors;
	__le64 index;
	__le64 sector;
};

static_assert(sizeof(struct rb_wire_header) == 32);

struct rb_wire_hello {
	__le64 id;
	__le64 generation; /* drawn anew whenever a device is created */
	__le64 sectors;
	__le64 issued;
	__le64 peer_generation; /* 0: has never met a backup */
};

static_assert(sizeof(struct rb_wire_hello) == 40);

enum rb_wire_verdict {
	RB_VERDICT_ACCEPTED = 0,
	RB_VERDICT_BUSY = 1, /* another primary is being served */
	RB_VERDICT_VERSION = 2, /* another wire format */
	RB_VERDICT_SIZE = 3, /* devices differ in size */
	RB_VERDICT_IDENTITY = 4, /* id 0, or the backup's own */
	RB_VERDICT_STALE = 5, /* the two histories do not meet */
	RB_VERDICT_FAILED = 6, /* the backup's disk has failed */
	RB_VERDICT_COUNT,
};

struct rb_wire_welcome {
	__le32 verdict;
	__le32 reserved;
	__le64 id;
	__le64 generation;
	__le64 sectors;
	__le64 received;
	__le64 applied;
	__le64 durable;
};

static_assert(sizeof(struct rb_wire_welcome) == 56);

struct rb_wire_progress {
	__le64 received;
	__le64 applied;
	__le64 durable;
	__le32 failed; /* 1: the backup's disk has failed, nothing will follow */
	__le32 reserved;
};

static_assert(sizeof(struct rb_wire_progress) == 32);

/* The same three indices in host order; each is a contiguous prefix. */
struct rb_progress {
	u64 received;
	u64 applied;
	u64 durable;
};

/* A decoded operation. */
struct rb_wire_op {
	enum rb_wire_type type;
	u8 flags;
	u64 index;
	u64 sector;
	u32 sectors;
	u32 length;
};

bool rb_wire_is_op(u8 type);
void rb_wire_header_init(struct rb_wire_header *header, enum rb_wire_type type,
			 u32 length);
int rb_wire_check_control(const struct rb_wire_header *header,
			  enum rb_wire_type type, u32 length);
int rb_wire_encode_op(struct rb_wire_header *header,
		      const struct rb_wire_op *op);
int rb_wire_decode_op(const struct rb_wire_header *header, u64 expected_index,
		      u64 device_sectors, struct rb_wire_op *ret);
int rb_wire_decode_progress(const struct rb_wire_progress *wire,
			    const struct rb_progress *last, u64 issued,
			    struct rb_progress *ret);
const char *rb_wire_verdict_name(u32 verdict);

#endif /* DM_ROLLBACCINE_WIRE1_H */
