/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the replication protocol and what is to be done to them. */
#ifndef GUEST_TOOL_PROXY_H
#define GUEST_TOOL_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum direction { UP, DOWN }; /* from the side that connected; from the other */

enum action {
	PASS, /* only counted */
	FLIP, /* one bit of byte ARG, from the end if negative */
	DROP,
	DUP, /* sent twice */
	SWAP, /* sent after the message that follows it */
	CUT, /* the connection is closed before it is sent */
	CUT_AFTER,
	STALL, /* nothing is passed on any more, this message included */
	STALL_AFTER,
	TRUNCATE, /* ARG bytes are sent, then the connection is closed */
	GROW, /* ARG bytes of junk follow it */
	KEEP, /* passed, and a copy kept in slot ARG */
	INJECT, /* the copy in slot ARG is sent before it */
	REPLACE, /* the copy in slot ARG is sent in its place */
	REFLECT, /* sent back as well */
};

struct message {
	unsigned char *data;
	size_t len;
};

/* rules.c */
unsigned int message_type(const unsigned char *data);
/* Bytes of the message that begins at @data, 0 if too little is known yet. */
size_t message_length(const unsigned char *data, size_t len);
/* What to do with a message; PASS if no rule is about it. */
enum action rules_match(unsigned int conn, enum direction dir, const unsigned char *data,
			long *arg);
/* A word from the tests; the answer is put into @reply. */
void rules_command(char *text, char *reply, size_t room);
/* Whether new connections are to be left hanging. */
bool rules_stalled(void);
struct message *rules_slot(long number);
void rules_connected(unsigned int conn);
void rules_closed(unsigned int conn);

#endif
