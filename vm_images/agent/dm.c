// SPDX-License-Identifier: Apache-2.0
/* Device mapper through its control node: no dmsetup, no udev, one system call each. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CONTROL "/dev/" DM_DIR "/" DM_CONTROL_NODE
#define ARGS_BYTES 65536

/* The ioctl's argument is one buffer: header, then target specs or a message. */
struct request {
	struct dm_ioctl *dm;
	const char *name;
	const char *call;
};

static int control_fd(struct buf *out)
{
	static int fd = -1;

	if (fd < 0)
		fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	return fd < 0 ? fail(out, "open", "%s", CONTROL) : fd;
}

static int request_init(struct request *r, const char *name, const char *call, struct buf *out)
{
	r->name = name;
	r->call = call;
	if (!*name || strlen(name) >= DM_NAME_LEN || strchr(name, '/'))
		return fail_with(EINVAL, out, call, name);
	r->dm = calloc(1, ARGS_BYTES);
	if (!r->dm)
		fatal("out of memory");
	/* 4.0.0 is the oldest interface that has everything used here. */
	r->dm->version[0] = DM_VERSION_MAJOR;
	r->dm->data_size = ARGS_BYTES;
	r->dm->data_start = sizeof(*r->dm);
	strcpy(r->dm->name, name);
	return 0;
}

static int request_run(const struct request *r, unsigned long number, struct buf *out)
{
	int fd = control_fd(out);

	if (fd < 0)
		return fd;
	return ioctl(fd, number, r->dm) < 0 ? fail(out, r->call, "%s", r->name) : 0;
}

static int simple_request(const char *name, const char *call, unsigned long number, uint32_t flags,
			  struct buf *out)
{
	struct request r;
	int ret = request_init(&r, name, call, out);

	if (ret)
		return ret;
	r.dm->flags = flags;
	ret = request_run(&r, number, out);
	free(r.dm);
	return ret;
}

/* Append one table line "START LENGTH TARGET ARGS" as a target spec at offset @at. */
static int add_target(struct request *r, const char *line, size_t *at, struct buf *out)
{
	struct dm_target_spec *spec = (struct dm_target_spec *)((char *)r->dm + *at);
	unsigned long long start, length;
	char type[DM_MAX_TYPE_NAME];
	const char *args;
	size_t need;
	int used = 0;

	if (sscanf(line, "%llu %llu %15s%n", &start, &length, type, &used) != 3 || !used)
		return fail_with(EINVAL, out, "table line", line);
	args = line + used;
	args += *args == ' ';
	need = (sizeof(*spec) + strlen(args) + 1 + 7) & ~7UL;
	if (*at + need > ARGS_BYTES)
		return fail_with(E2BIG, out, "table line", line);
	spec->sector_start = start;
	spec->length = length;
	strcpy(spec->target_type, type);
	strcpy((char *)(spec + 1), args);
	spec->next = (uint32_t)need;
	*at += need;
	r->dm->target_count++;
	return 0;
}

static int load_table(const struct cmd *cmd, bool read_only, struct buf *out)
{
	size_t at = sizeof(struct dm_ioctl);
	struct request r;
	int ret = request_init(&r, cmd->argv[1], "ioctl(DM_TABLE_LOAD)", out);

	if (ret)
		return ret;
	r.dm->flags = read_only ? DM_READONLY_FLAG : 0;
	for (int i = 4; !ret && i < cmd->argc; i++)
		ret = add_target(&r, cmd->argv[i], &at, out);
	if (!ret)
		ret = request_run(&r, DM_TABLE_LOAD, out);
	free(r.dm);
	return ret;
}

static void node_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "/dev/" DM_DIR "/%s", name);
}

static int make_node(const char *name, uint64_t dev, struct buf *out)
{
	char path[sizeof("/dev/" DM_DIR "/") + DM_NAME_LEN];

	node_path(path, sizeof(path), name);
	unlink(path);
	/* The kernel's encoding of a device number: 12 bits of minor around the major. */
	if (mknod(path, S_IFBLK | 0600,
		  makedev((dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00))) < 0)
		return fail(out, "mknod", "%s", path);
	return 0;
}

static int create_device(const struct cmd *cmd, uint64_t *dev, struct buf *out)
{
	struct request r;
	int ret = request_init(&r, cmd->argv[1], "ioctl(DM_DEV_CREATE)", out);

	if (ret)
		return ret;
	if (strlen(cmd->argv[2]) >= DM_UUID_LEN) {
		free(r.dm);
		return fail_with(EINVAL, out, "uuid", cmd->argv[2]);
	}
	if (strcmp(cmd->argv[2], "-"))
		strcpy(r.dm->uuid, cmd->argv[2]);
	ret = request_run(&r, DM_DEV_CREATE, out);
	*dev = r.dm->dev;
	free(r.dm);
	return ret;
}

/* dm-create NAME UUID|- RO|RW TABLELINE... */
int cmd_dm_create(const struct cmd *cmd, struct buf *out)
{
	const char *name = cmd->argv[1];
	bool read_only = !strcmp(cmd->argv[3], "RO");
	struct buf ignored = { 0 };
	uint64_t dev = 0;
	int ret;

	if (!read_only && strcmp(cmd->argv[3], "RW"))
		return fail_with(EINVAL, out, "dm-create", cmd->argv[3]);
	ret = create_device(cmd, &dev, out);
	if (ret)
		return ret;
	ret = load_table(cmd, read_only, out);
	if (ret)
		goto err_remove;
	ret = simple_request(name, "ioctl(DM_DEV_SUSPEND)", DM_DEV_SUSPEND,
			     read_only ? DM_READONLY_FLAG : 0, out);
	if (ret)
		goto err_remove;
	ret = make_node(name, dev, out);
	if (ret)
		goto err_remove;
	return 0;

err_remove:
	simple_request(name, "ioctl(DM_DEV_REMOVE)", DM_DEV_REMOVE, 0, &ignored);
	buf_free(&ignored);
	return ret;
}

/* dm-remove NAME */
int cmd_dm_remove(const struct cmd *cmd, struct buf *out)
{
	char path[sizeof("/dev/" DM_DIR "/") + DM_NAME_LEN];
	int ret = simple_request(cmd->argv[1], "ioctl(DM_DEV_REMOVE)", DM_DEV_REMOVE, 0, out);

	if (ret)
		return ret;
	node_path(path, sizeof(path), cmd->argv[1]);
	unlink(path);
	return 0;
}

/* dm-suspend NAME: I/O under way is finished first, what comes then waits */
int cmd_dm_suspend(const struct cmd *cmd, struct buf *out)
{
	return simple_request(cmd->argv[1], "ioctl(DM_DEV_SUSPEND)", DM_DEV_SUSPEND,
			      DM_SUSPEND_FLAG, out);
}

/* dm-resume NAME */
int cmd_dm_resume(const struct cmd *cmd, struct buf *out)
{
	return simple_request(cmd->argv[1], "ioctl(DM_DEV_SUSPEND)", DM_DEV_SUSPEND, 0, out);
}

/*
 * Append the status (or, with @table, the table) of every target of the device to @text, one line
 * each; a table line begins with its start, length and type. Failure text goes to @out.
 */
int dm_status_text(const char *name, bool table, struct buf *text, struct buf *out)
{
	struct request r;
	const char *base;
	size_t at = 0;
	int ret = request_init(&r, name, "ioctl(DM_TABLE_STATUS)", out);

	if (ret)
		return ret;
	r.dm->flags = table ? DM_STATUS_TABLE_FLAG : DM_NOFLUSH_FLAG;
	ret = request_run(&r, DM_TABLE_STATUS, out);
	if (!ret && r.dm->flags & DM_BUFFER_FULL_FLAG)
		ret = fail_with(EMSGSIZE, out, r.call, name);
	base = (const char *)r.dm + r.dm->data_start;
	for (uint32_t i = 0; !ret && i < r.dm->target_count; i++) {
		const struct dm_target_spec *spec = (const void *)(base + at);

		if (i)
			buf_add(text, "\n", 1);
		if (table)
			buf_printf(text, "%llu %llu %s ", (unsigned long long)spec->sector_start,
				   (unsigned long long)spec->length, spec->target_type);
		buf_printf(text, "%s", (const char *)(spec + 1));
		at = spec->next;
	}
	free(r.dm);
	return ret;
}

/* dm-status NAME -> what the target says about itself */
int cmd_dm_status(const struct cmd *cmd, struct buf *out)
{
	return dm_status_text(cmd->argv[1], false, out, out);
}

/* dm-table NAME -> table lines as dm-create takes them */
int cmd_dm_table(const struct cmd *cmd, struct buf *out)
{
	return dm_status_text(cmd->argv[1], true, out, out);
}

/* dm-message NAME SECTOR WORD... -> the target's answer, if it has one */
int cmd_dm_message(const struct cmd *cmd, struct buf *out)
{
	struct dm_target_msg *msg;
	struct buf text = { 0 };
	uint64_t sector;
	struct request r;
	int ret;

	if (!parse_u64(cmd->argv[2], &sector))
		return fail_with(EINVAL, out, "sector", cmd->argv[2]);
	ret = request_init(&r, cmd->argv[1], "ioctl(DM_TARGET_MSG)", out);
	if (ret)
		return ret;
	for (int i = 3; i < cmd->argc; i++)
		buf_printf(&text, "%s%s", i > 3 ? " " : "", cmd->argv[i]);
	msg = (struct dm_target_msg *)(r.dm + 1);
	msg->sector = sector;
	if (text.len < ARGS_BYTES - sizeof(*r.dm) - sizeof(*msg)) {
		memcpy(msg->message, text.data, text.len + 1);
		ret = request_run(&r, DM_TARGET_MSG, out);
	} else {
		ret = fail_with(E2BIG, out, r.call, r.name);
	}
	if (!ret && r.dm->flags & DM_DATA_OUT_FLAG)
		buf_printf(out, "%s", (const char *)r.dm + r.dm->data_start);
	buf_free(&text);
	free(r.dm);
	return ret;
}
