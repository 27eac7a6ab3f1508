// SPDX-License-Identifier: Apache-2.0
/*
 * From the initramfs to a full guest: "harness.root=DEVICE" on the kernel's command line names the
 * disk whose init goes on as process 1. What the host gave along in /payload (this program, our
 * module and its source) is found in /run/harness afterwards.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROOT_OPTION "harness.root="
#define NEW_ROOT "/newroot"
#define PAYLOAD "/payload"
#define PAYLOAD_LATER "/run/harness"
#define INIT "/sbin/init"
#define POLL_NS 2000000L
#define PATIENCE_US 30000000ULL

static const char *const moved[] = { "/dev", "/proc", "/sys", "/run" };

/* The value of @option on the command line in @text, which is changed; NULL if it is not there. */
static char *option_value(char *text, const char *option)
{
	for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n"))
		if (!strncmp(word, option, strlen(option)))
			return word + strlen(option);
	return NULL;
}

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
}

/* A driver announces its disks some time after it is loaded. */
static void wait_for(const char *device)
{
	uint64_t until = now_us() + PATIENCE_US;
	const struct timespec pause = { 0, POLL_NS };

	while (access(device, F_OK)) {
		if (now_us() >= until)
			fatal(device);
		nanosleep(&pause, NULL);
	}
}

static void mount_or_die(const char *what, const char *where, const char *type,
			 unsigned long flags)
{
	if (mount(what, where, type, flags, NULL) < 0)
		fatal(where);
}

static void enter(const char *device)
{
	char *const argv[] = { (char *)INIT, NULL };

	wait_for(device);
	mkdir(NEW_ROOT, 0755);
	mount_or_die(device, NEW_ROOT, "ext4", MS_NOATIME);
	mkdir(PAYLOAD_LATER, 0755);
	mount_or_die(PAYLOAD, PAYLOAD_LATER, NULL, MS_BIND);
	chmod("/run", 0755);
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		char target[64];

		snprintf(target, sizeof(target), NEW_ROOT "%s", moved[i]);
		mount_or_die(moved[i], target, NULL, MS_MOVE);
	}
	if (chdir(NEW_ROOT) < 0)
		fatal(NEW_ROOT);
	mount_or_die(".", "/", NULL, MS_MOVE);
	if (chroot(".") < 0 || chdir("/") < 0)
		fatal("chroot");
	/* As the kernel would have started it. */
	umask(022);
	signal(SIGPIPE, SIG_DFL);
	unsetenv("HOME");
	execv(INIT, argv);
	fatal(INIT);
}

/*
 * Returns if there is no such disk on the command line. If it is there and cannot be used, the
 * guest ends: it must not be taken for what it is not.
 */
void enter_root_disk(void)
{
	char text[4096];
	const char *device;

	read_text("/proc/cmdline", text, sizeof(text));
	device = option_value(text, ROOT_OPTION);
	if (device)
		enter(device);
}
