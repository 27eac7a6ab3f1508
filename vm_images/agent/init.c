// SPDX-License-Identifier: Apache-2.0
/*
 * Process 1 of a micro-guest: the kernel's own file systems, the modules of the profile, the
 * loopback interface, and the port to the host. Trouble is told on the console, and booting goes
 * on: a guest that answers can be asked what is wrong.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODULES_FILE "/etc/harness/modules"
#define PORTS_DIR "/sys/class/virtio-ports"
#define PORT_POLL_NS 2000000L
#define PORT_PATIENCE_US 30000000ULL

static const struct {
	const char *type;
	const char *dir;
} mounts[] = {
	{ "proc", "/proc" },  { "sysfs", "/sys" }, { "devtmpfs", "/dev" },
	{ "tmpfs", "/tmp" },  { "tmpfs", "/run" },
};

/*
 * An emulated guest translates a program anew whenever it runs at another address: without address
 * randomisation a second e2fsck takes a third of the time. A lone CPU waits out RCU grace periods
 * when a device or a mount goes away: expedited ones halve that.
 */
static const struct {
	const char *path;
	const char *value;
} settings[] = {
	{ "/proc/sys/kernel/randomize_va_space", "0" },
	{ "/sys/kernel/rcu_expedited", "1" },
};

static void complain(const char *what, const char *object, int error)
{
	fprintf(stderr, "harness-agent: %s %s: %s\n", what, object, strerror(error));
}

static void mount_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].dir, 0755);
		/* EBUSY: the kernel mounted it itself (CONFIG_DEVTMPFS_MOUNT). */
		if (mount(mounts[i].type, mounts[i].dir, mounts[i].type, 0, NULL) < 0 &&
		    errno != EBUSY)
			complain("mount", mounts[i].dir, errno);
	}
}

static void use_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static void load_modules(void)
{
	FILE *list = fopen(MODULES_FILE, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	while (list && (len = getline(&line, &size, list)) > 0) {
		char *params;
		int ret;

		line[strcspn(line, "\n")] = '\0';
		if (!*line || *line == '#')
			continue;
		params = strchr(line, ' ');
		if (params)
			*params++ = '\0';
		ret = module_load(line, params ? params : "");
		if (ret)
			complain("load", line, -ret);
	}
	free(line);
	if (list)
		fclose(list);
}

static void apply_settings(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		struct buf out = { 0 };

		if (write_file(settings[i].path, settings[i].value, &out))
			fprintf(stderr, "harness-agent: %s\n", out.data);
		buf_free(&out);
	}
}

/*
 * mkfs asks for random numbers for its UUID and would wait seconds for the kernel to have gathered
 * enough. Nothing in a test guest is secret: count what the clock gives as good enough.
 */
static void seed_random(void)
{
	struct {
		struct rand_pool_info info;
		uint64_t words[8];
	} pool = { .info = { .entropy_count = 256, .buf_size = sizeof(pool.words) } };
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(pool.words); i++) {
		struct timespec ts;

		clock_gettime(i % 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ts);
		pool.words[i] = (uint64_t)ts.tv_sec << 32 | (uint64_t)ts.tv_nsec;
	}
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0)
		complain("seed", "/dev/urandom", errno);
	if (fd >= 0)
		close(fd);
}

void init_machine(void)
{
	struct buf out = { 0 };

	mount_all();
	use_console();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	apply_settings();
	seed_random();
	load_modules();
	if (net_up("lo", "-", 0, &out))
		fprintf(stderr, "harness-agent: %s\n", out.data);
	buf_free(&out);
}

/* Children of programs that ended become ours: collect them whenever there is time. */
void reap_orphans(void)
{
	if (getpid() == 1)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
}

static bool has_name(const char *port, const char *wanted)
{
	char path[300], name[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), PORTS_DIR "/%s/name", port);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		*name = '\0';
	fclose(file);
	name[strcspn(name, "\n")] = '\0';
	return !strcmp(name, wanted);
}

static int try_open_port(const char *name)
{
	DIR *dir = opendir(PORTS_DIR);
	struct dirent *entry;
	int fd = -1;

	while (dir && fd < 0 && (entry = readdir(dir))) {
		char path[300];

		if (*entry->d_name == '.' || !has_name(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

/* The device announces its ports some time after its driver is loaded. */
int open_agent_port(const char *name)
{
	uint64_t complain_at = now_us() + PORT_PATIENCE_US;
	const struct timespec pause = { 0, PORT_POLL_NS };

	for (;;) {
		int fd = try_open_port(name);

		if (fd >= 0)
			return fd;
		if (now_us() >= complain_at) {
			complain("still waiting for port", name, ENOENT);
			complain_at += PORT_PATIENCE_US;
		}
		nanosleep(&pause, NULL);
	}
}
