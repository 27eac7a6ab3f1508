// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of the proxy. `add CONN u|d NTH TYPE ACTION ARG`: to the NTH message (from now on) of TYPE
 * (0: any) in that direction on connection CONN (counted from 1; 0: any), once. `clear` forgets
 * them and the log, `stall on|off` is about new connections, `hits` tells how many rules have
 * struck, `log` what has passed since `clear`: words `CONN:u:TYPE`, `CONN:+`, `CONN:-`.
 */
#define _GNU_SOURCE
#include "proxy.h"
#include "tool.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 32
#define TYPE_AT 6
#define CONTROL_AT 8
#define DATA_AT 12
#define MOST_RULES 32
#define LOG_BYTES 32768
#define SLOTS 16

static const char *const action_names[] = {
	[PASS] = "pass",	[FLIP] = "flip",	 [DROP] = "drop",
	[DUP] = "dup",		[SWAP] = "swap",	 [CUT] = "cut",
	[CUT_AFTER] = "cutafter", [STALL] = "stall",	 [STALL_AFTER] = "stallafter",
	[TRUNCATE] = "truncate", [GROW] = "grow",	 [KEEP] = "keep",
	[INJECT] = "inject",	[REPLACE] = "replace", [REFLECT] = "reflect",
};

struct rule {
	unsigned int conn;
	enum direction dir;
	unsigned int nth;
	unsigned int type;
	enum action action;
	long arg;
	unsigned int seen;
};

static struct rule rules[MOST_RULES];
static unsigned int rule_count, hits;
static bool stalled;
static char log_text[LOG_BYTES];
static size_t log_len;
static struct message slots[SLOTS];

unsigned int message_type(const unsigned char *data)
{
	return data[TYPE_AT];
}

static uint32_t get_le32(const unsigned char *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return le32toh(value);
}

size_t message_length(const unsigned char *data, size_t len)
{
	if (len < HEADER_BYTES)
		return 0;
	return HEADER_BYTES + (size_t)get_le32(data + CONTROL_AT) + get_le32(data + DATA_AT);
}

static void note(const char *text)
{
	size_t len = strlen(text);

	if (log_len + len >= LOG_BYTES)
		return;
	memcpy(log_text + log_len, text, len + 1);
	log_len += len;
}

void rules_connected(unsigned int conn)
{
	char text[32];

	snprintf(text, sizeof(text), "%u:+ ", conn);
	note(text);
}

void rules_closed(unsigned int conn)
{
	char text[32];

	snprintf(text, sizeof(text), "%u:- ", conn);
	note(text);
}

enum action rules_match(unsigned int conn, enum direction dir, const unsigned char *data,
			long *arg)
{
	unsigned int type = message_type(data);
	enum action action = PASS;
	char text[32];

	snprintf(text, sizeof(text), "%u:%c:%u ", conn, dir == UP ? 'u' : 'd', type);
	note(text);
	for (unsigned int i = 0; i < rule_count; i++) {
		struct rule *r = &rules[i];

		if ((r->conn && r->conn != conn) || r->dir != dir || (r->type && r->type != type))
			continue;
		if (++r->seen != r->nth)
			continue;
		hits++;
		action = r->action;
		*arg = r->arg;
	}
	return action;
}

bool rules_stalled(void)
{
	return stalled;
}

struct message *rules_slot(long number_)
{
	return &slots[(unsigned long)number_ % SLOTS];
}

static bool add(char *text)
{
	struct rule r = { 0 };
	char dir, action[16];

	if (rule_count == MOST_RULES ||
	    sscanf(text, "add %u %c %u %u %15s %ld", &r.conn, &dir, &r.nth, &r.type, action,
		   &r.arg) != 6)
		return false;
	r.dir = dir == 'u' ? UP : DOWN;
	for (size_t i = 0; i < ARRAY_SIZE(action_names); i++) {
		if (strcmp(action_names[i], action))
			continue;
		r.action = (enum action)i;
		rules[rule_count++] = r;
		return true;
	}
	return false;
}

void rules_command(char *text, char *reply, size_t room)
{
	const char *answer = "ok";

	if (!strcmp(text, "clear")) {
		rule_count = hits = 0;
		log_text[log_len = 0] = '\0';
	} else if (!strncmp(text, "stall ", 6)) {
		stalled = !strcmp(text, "stall on");
	} else if (!strcmp(text, "hits")) {
		snprintf(reply, room, "%u", hits);
		return;
	} else if (!strcmp(text, "log")) {
		answer = log_text;
	} else if (strncmp(text, "add ", 4) || !add(text)) {
		answer = "bad";
	}
	snprintf(reply, room, "%s", answer);
}
