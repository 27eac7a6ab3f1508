// SPDX-License-Identifier: Apache-2.0
/* Modules, network, mounts and kernel odds and ends. */
#define _GNU_SOURCE
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/module.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KERNEL_LINES_MAX 20
#define KEY_BYTES_MAX 1024

static enum { AFTER_NOTHING, AFTER_POWEROFF, AFTER_PANIC } after;

static int kernel_log_fd(void)
{
	static int fd = -2;

	if (fd == -2)
		fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd;
}

void kernel_log_mark(void)
{
	lseek(kernel_log_fd(), 0, SEEK_END);
}

/* Append what the kernel said since the mark: an errno alone rarely tells why. */
void kernel_log_since_mark(struct buf *out)
{
	char record[8192];
	int lines = 0;

	while (lines < KERNEL_LINES_MAX) {
		ssize_t len = read(kernel_log_fd(), record, sizeof(record) - 1);
		char *text;

		if (len < 0 && errno == EPIPE) /* records were overwritten: go on with the rest */
			continue;
		if (len <= 0)
			return;
		record[len] = '\0';
		text = strchr(record, ';');
		if (text)
			buf_printf(out, "\nkernel: %.*s", (int)strcspn(text + 1, "\n"), text + 1);
		lines++;
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);

	return len >= tail && !strcmp(text + len - tail, end);
}

/* Whether the module of that file is loaded: its name is the file's, up to the first dot. */
static bool module_is_loaded(const char *path)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	char entry[256];
	char *c;

	snprintf(entry, sizeof(entry), "/sys/module/%.*s", (int)strcspn(base, "."), base);
	for (c = entry + strlen("/sys/module/"); *c; c++)
		if (*c == '-')
			*c = '_';
	return !access(entry, F_OK);
}

/* 0 or -errno; a module that is loaded already is as good. */
int module_load(const char *path, const char *params)
{
	bool packed = ends_with(path, ".xz") || ends_with(path, ".zst") || ends_with(path, ".gz");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, params, packed ? MODULE_INIT_COMPRESSED_FILE : 0) < 0)
		ret = -errno;
	close(fd);
	/* A module may refuse to load with the same errno: what it registers has a name taken. */
	return ret == -EEXIST && module_is_loaded(path) ? 0 : ret;
}

/* insmod PATH [PARAMS] */
int cmd_insmod(const struct cmd *cmd, struct buf *out)
{
	int ret = module_load(cmd->argv[1], cmd->argc > 2 ? cmd->argv[2] : "");

	return ret ? fail_with(-ret, out, "finit_module", cmd->argv[1]) : 0;
}

/* rmmod NAME */
int cmd_rmmod(const struct cmd *cmd, struct buf *out)
{
	if (syscall(SYS_delete_module, cmd->argv[1], O_NONBLOCK) < 0)
		return fail(out, "delete_module", "%s", cmd->argv[1]);
	return 0;
}

static bool parse_hex(const char *text, uint8_t *bytes, size_t room, size_t *len)
{
	unsigned int byte;

	for (*len = 0; text[0] && text[1] && *len < room; text += 2) {
		if (strspn(text, "0123456789abcdefABCDEF") < 2 || sscanf(text, "%2x", &byte) != 1)
			return false;
		bytes[(*len)++] = (uint8_t)byte;
	}
	return *len && !*text;
}

/*
 * key-add TYPE DESCRIPTION HEX: into the keyring of the user, where the kernel looks on behalf of
 * every process of ours that has no session. A key of that name gets the new payload.
 */
int cmd_key_add(const struct cmd *cmd, struct buf *out)
{
	uint8_t payload[KEY_BYTES_MAX];
	size_t len;

	if (!parse_hex(cmd->argv[3], payload, sizeof(payload), &len))
		return fail_with(EINVAL, out, "payload", "is not told here");
	if (syscall(SYS_add_key, cmd->argv[1], cmd->argv[2], payload, len,
		    KEY_SPEC_USER_KEYRING) < 0)
		return fail(out, "add_key", "%s %s", cmd->argv[1], cmd->argv[2]);
	return 0;
}

static int set_address(int fd, struct ifreq *request, const char *text, struct buf *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&request->ifr_addr;
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	uint64_t prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(address) || !parse_u64(slash + 1, &prefix) ||
	    !prefix || prefix > 32)
		return fail_with(EINVAL, out, "address", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	in->sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &in->sin_addr) != 1)
		return fail_with(EINVAL, out, "address", text);
	if (ioctl(fd, SIOCSIFADDR, request) < 0)
		return fail(out, "ioctl(SIOCSIFADDR)", "%s", request->ifr_name);
	in->sin_addr.s_addr = htonl((uint32_t)(0xffffffffUL << (32 - prefix)));
	if (ioctl(fd, SIOCSIFNETMASK, request) < 0)
		return fail(out, "ioctl(SIOCSIFNETMASK)", "%s", request->ifr_name);
	return 0;
}

static int set_up(int fd, struct ifreq *request, struct buf *out)
{
	if (ioctl(fd, SIOCGIFFLAGS, request) < 0)
		return fail(out, "ioctl(SIOCGIFFLAGS)", "%s", request->ifr_name);
	request->ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, request) < 0)
		return fail(out, "ioctl(SIOCSIFFLAGS)", "%s", request->ifr_name);
	return 0;
}

/* Give the interface an IPv4 address ("-": none), an MTU (0: as it is), and bring it up. */
int net_up(const char *name, const char *address, int mtu, struct buf *out)
{
	struct ifreq request = { 0 };
	int fd, ret = 0;

	if (strlen(name) >= IFNAMSIZ)
		return fail_with(ENODEV, out, "interface", name);
	strcpy(request.ifr_name, name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(out, "socket", "%s", name);
	if (mtu) {
		request.ifr_mtu = mtu;
		if (ioctl(fd, SIOCSIFMTU, &request) < 0)
			ret = fail(out, "ioctl(SIOCSIFMTU)", "%s", name);
	}
	if (!ret && strcmp(address, "-"))
		ret = set_address(fd, &request, address, out);
	if (!ret)
		ret = set_up(fd, &request, out);
	close(fd);
	return ret;
}

/* netup IF ADDRESS/PREFIX|- [MTU] */
int cmd_netup(const struct cmd *cmd, struct buf *out)
{
	uint64_t mtu = 0;

	if (cmd->argc > 3 && (!parse_u64(cmd->argv[3], &mtu) || !mtu || mtu > UINT16_MAX))
		return fail_with(EINVAL, out, "MTU", cmd->argv[3]);
	return net_up(cmd->argv[1], cmd->argv[2], (int)mtu, out);
}

static const struct {
	const char *name;
	unsigned long set;
	unsigned long clear;
} mount_flags[] = {
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "noatime", MS_NOATIME, 0 },
	{ "nodiratime", MS_NODIRATIME, 0 },
	{ "relatime", MS_RELATIME, 0 },
	{ "strictatime", MS_STRICTATIME, 0 },
	{ "lazytime", MS_LAZYTIME, 0 },
	{ "sync", MS_SYNCHRONOUS, 0 },
	{ "dirsync", MS_DIRSYNC, 0 },
	{ "nosuid", MS_NOSUID, 0 },
	{ "nodev", MS_NODEV, 0 },
	{ "noexec", MS_NOEXEC, 0 },
	{ "bind", MS_BIND, 0 },
	{ "remount", MS_REMOUNT, 0 },
};

/* Split a comma list in place into mount(2)'s flags and the file system's own options. */
static unsigned long split_options(char *options, struct buf *data)
{
	unsigned long flags = 0;
	char *word;

	while ((word = strsep(&options, ","))) {
		size_t i = 0;

		while (i < ARRAY_SIZE(mount_flags) && strcmp(mount_flags[i].name, word))
			i++;
		if (i < ARRAY_SIZE(mount_flags))
			flags = (flags | mount_flags[i].set) & ~mount_flags[i].clear;
		else if (*word)
			buf_printf(data, "%s%s", data->len ? "," : "", word);
	}
	return flags;
}

void make_dirs(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	mkdir(path, 0755); /* whether it worked shows in what uses the path */
}

/* mount DEV DIR FSTYPE OPTIONS|- */
int cmd_mount(const struct cmd *cmd, struct buf *out)
{
	char **argv = cmd->argv;
	struct buf data = { 0 };
	unsigned long flags = strcmp(argv[4], "-") ? split_options(argv[4], &data) : 0;
	int ret = 0;

	make_dirs(argv[2]);
	if (mount(argv[1], argv[2], argv[3], flags, data.data) < 0)
		ret = fail(out, "mount", "%s on %s (%s)", argv[1], argv[2], argv[3]);
	buf_free(&data);
	return ret;
}

/* remount DIR OPTIONS */
int cmd_remount(const struct cmd *cmd, struct buf *out)
{
	struct buf data = { 0 };
	unsigned long flags = MS_REMOUNT | split_options(cmd->argv[2], &data);
	int ret = 0;

	if (mount(NULL, cmd->argv[1], NULL, flags, data.data) < 0)
		ret = fail(out, "mount", "%s again", cmd->argv[1]);
	buf_free(&data);
	return ret;
}

/* umount DIR */
int cmd_umount(const struct cmd *cmd, struct buf *out)
{
	return umount2(cmd->argv[1], 0) < 0 ? fail(out, "umount", "%s", cmd->argv[1]) : 0;
}

int write_file(const char *path, const char *text, struct buf *out)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return fail(out, "open", "%s", path);
	if (write(fd, text, strlen(text)) < 0)
		ret = fail(out, "write", "%s", path);
	close(fd);
	return ret;
}

/* drop-caches [1|2|3] */
int cmd_drop_caches(const struct cmd *cmd, struct buf *out)
{
	return write_file("/proc/sys/vm/drop_caches", cmd->argc > 1 ? cmd->argv[1] : "3", out);
}

/* kmsg TEXT: a marker in the kernel's log, and so on the console */
int cmd_kmsg(const struct cmd *cmd, struct buf *out)
{
	struct buf text = { 0 };
	int ret;

	buf_printf(&text, "<5>harness: %s\n", cmd->argv[1]);
	ret = write_file("/dev/kmsg", text.data, out);
	buf_free(&text);
	return ret;
}

static int machine_only(const char *what, struct buf *out)
{
	return owns_machine ? 0 : fail_with(EPERM, out, what, "not a guest's own agent");
}

/* poweroff: after the response is on its way */
int cmd_poweroff(const struct cmd *cmd, struct buf *out)
{
	int ret = machine_only(cmd->argv[0], out);

	if (!ret)
		after = AFTER_POWEROFF;
	return ret;
}

/* panic: crash the kernel, after the response is on its way */
int cmd_panic(const struct cmd *cmd, struct buf *out)
{
	int ret = machine_only(cmd->argv[0], out);

	if (!ret)
		after = AFTER_PANIC;
	return ret;
}

void after_response(void)
{
	struct buf out = { 0 };

	if (after == AFTER_POWEROFF)
		reboot(RB_POWER_OFF);
	if (after == AFTER_PANIC && write_file("/proc/sysrq-trigger", "c", &out))
		fprintf(stderr, "harness-agent: %s\n", out.data);
	after = AFTER_NOTHING;
	buf_free(&out);
}
