// SPDX-License-Identifier: Apache-2.0
/*
 * The guest agent. As process 1 it makes a micro-guest out of a bare kernel and serves the virtio
 * port for ever. Otherwise: --port serves that port in a full guest, --socket PATH a unix socket,
 * one client after the other, and --stdio its standard input and output. --tell is for what runs as a
 * job: tell the host, and wait for its word.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

bool owns_machine;

static void answer_hello(struct conn *c, uint32_t id)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char boot_id[64] = "unknown";
	struct buf text = { 0 };
	struct utsname un;

	if (file) {
		if (!fgets(boot_id, sizeof(boot_id), file))
			strcpy(boot_id, "unknown");
		fclose(file);
	}
	boot_id[strcspn(boot_id, "\n")] = '\0';
	uname(&un);
	buf_printf(&text, "agent %s\nprotocol %d\nkernel %s\nmachine %s\nboot %s\n", AGENT_VERSION,
		   PROTOCOL_VERSION, un.release, un.machine, boot_id);
	conn_send(c, FRAME_HELLO, id, text.data, text.len);
	buf_free(&text);
}

/* Serve one connection to its end; a virtio port has none. */
static void serve(struct conn *c)
{
	static const char unexpected[] = "frame type not expected now";
	struct frame f;

	while (conn_next(c, &f)) {
		if (f.type == FRAME_HELLO)
			answer_hello(c, f.id);
		else if (f.type == FRAME_REQUEST)
			script_run(c, f.id, f.payload, f.len);
		else
			conn_send(c, FRAME_ERROR, f.id, unexpected, sizeof(unexpected) - 1);
		after_response();
	}
	buf_free(&c->rx);
}

static void serve_port(void)
{
	struct conn c = { .port = true };

	c.in = c.out = open_agent_port(AGENT_PORT_NAME);
	printf("harness-agent: ready\n");
	fflush(stdout);
	serve(&c);
}

/*
 * serve PORT: another process of this guest serves the virtio port PORT, so that a long command
 * there and short ones here can run side by side.
 */
int cmd_serve(const struct cmd *cmd, struct buf *out)
{
	struct conn c = { .port = true };
	pid_t pid;

	c.in = c.out = open_agent_port(cmd->argv[1]);
	pid = fork();
	if (!pid) {
		serve(&c);
		_exit(0);
	}
	close(c.in);
	return pid < 0 ? fail(out, "fork", "%s", cmd->argv[1]) : 0;
}

static void serve_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || strlen(path) >= sizeof(address.sun_path))
		fatal("socket");
	strcpy(address.sun_path, path);
	unlink(path);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0)
		fatal(path);
	printf("harness-agent: ready\n");
	fflush(stdout);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct conn c = { .in = fd, .out = fd };

		if (fd < 0)
			continue;
		serve(&c);
		close(fd);
	}
}

static void serve_stdio(void)
{
	/* Programs that are run must not write into the stream: keep it, give them stderr. */
	struct conn c = { .in = dup(0), .out = dup(1) };

	if (c.in < 0 || c.out < 0)
		fatal("dup");
	fcntl(c.in, F_SETFD, FD_CLOEXEC);
	fcntl(c.out, F_SETFD, FD_CLOEXEC);
	fcntl(c.in, F_SETFL, O_NONBLOCK);
	fcntl(c.out, F_SETFL, O_NONBLOCK);
	dup2(2, 1);
	serve(&c);
}

int main(int argc, char **argv)
{
	bool init = getpid() == 1, port = argc == 2 && !strcmp(argv[1], "--port");

	owns_machine = init || port;
	if (!init && argc >= 4 && !strcmp(argv[1], "--tell"))
		return tell(argv[2], argv + 3);
	umask(0); /* workloads mean the modes they say */
	signal(SIGPIPE, SIG_IGN);
	if (init) {
		init_machine();
		enter_root_disk();
	}
	if (init || port) {
		serve_port();
	} else if (argc == 3 && !strcmp(argv[1], "--socket")) {
		serve_socket(argv[2]);
	} else if (argc == 2 && !strcmp(argv[1], "--stdio")) {
		serve_stdio();
	} else {
		fprintf(stderr, "usage: %s --port | --socket PATH | --stdio | --tell SOCKET WORD...\n", argv[0]);
		return 64;
	}
	return 0;
}
