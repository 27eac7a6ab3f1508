/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests on pairs of guests do inside a guest; main.c lists the commands. */
#ifndef GUEST_TOOL_H
#define GUEST_TOOL_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_BYTES 4096UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Exit status of `join` for a job that has not ended in time. */
#define STILL_RUNNING 124

/* A command: argv[0] is its name, argv[argc] is NULL. Returns an exit status. */
typedef int (*command_fn)(int argc, char **argv);

/* main.c */
int run_command(int argc, char **argv);
uint64_t number(const char *text);
uint64_t now_ms(void);
void pause_ms(unsigned int ms);
int complain(const char *what);

/* blockio.c */
int cmd_write(int argc, char **argv);
int cmd_flush(int argc, char **argv);
int cmd_load(int argc, char **argv);
int cmd_discard(int argc, char **argv);
int cmd_zeroes(int argc, char **argv);

/* jobs.c */
int cmd_bg(int argc, char **argv);
int cmd_join(int argc, char **argv);
int cmd_kill(int argc, char **argv);

/* net.c */
int tcp_connect(const char *address, uint64_t port);
int cmd_say(int argc, char **argv);
int cmd_crowd(int argc, char **argv);

/* proxy.c, rules.c */
int cmd_proxy(int argc, char **argv);
int cmd_ctl(int argc, char **argv);

#endif
