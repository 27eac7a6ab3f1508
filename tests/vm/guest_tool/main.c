// SPDX-License-Identifier: Apache-2.0
/* Commands by name. Each prints what it has to say and exits with 0, or 1 and the reason. */
#define _GNU_SOURCE
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *name;
	int args;
	command_fn run;
} commands[] = {
	{ "write", 6, cmd_write }, /* DEVICE BLOCK COUNT SEED NUMBER plain|sync|dsync */
	{ "flush", 1, cmd_flush }, /* DEVICE */
	{ "load", 7, cmd_load }, /* DEVICE BLOCKS SEED FIRST LAST SYNC_EVERY ACK_DEVICE|- */
	{ "discard", 3, cmd_discard }, /* DEVICE BLOCK COUNT */
	{ "zeroes", 3, cmd_zeroes }, /* DEVICE BLOCK COUNT */
	{ "bg", 2, cmd_bg }, /* JOB COMMAND ARG...: in the background */
	{ "join", 2, cmd_join }, /* JOB TIMEOUT_MS: its output and exit status, 124: still running */
	{ "kill", 1, cmd_kill }, /* JOB */
	{ "say", 3, cmd_say }, /* ADDRESS PORT TIMEOUT_MS HEX...: prints the answer in hex */
	{ "crowd", 3, cmd_crowd }, /* ADDRESS PORT COUNT: silent connections, until killed */
	{ "proxy", 3, cmd_proxy }, /* PORT TO_ADDRESS TO_PORT: until it is killed */
	{ "ctl", 2, cmd_ctl }, /* PORT WORD...: a word to the proxy, its answer */
};

uint64_t number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || end == text) {
		fprintf(stderr, "no number: %s\n", text);
		exit(2);
	}
	return value;
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pause_ms(unsigned int ms)
{
	struct timespec pause = { 0, ms * 1000000L };

	nanosleep(&pause, NULL);
}

int complain(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

int run_command(int argc, char **argv)
{
	for (size_t i = 0; argc && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[0]))
			continue;
		if (argc - 1 >= commands[i].args)
			return commands[i].run(argc, argv);
		fprintf(stderr, "%s needs %d arguments\n", argv[0], commands[i].args);
		return 2;
	}
	fprintf(stderr, "no such command\n");
	return 2;
}

int main(int argc, char **argv)
{
	return run_command(argc - 1, argv + 1);
}
