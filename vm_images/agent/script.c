// SPDX-License-Identifier: Apache-2.0
/*
 * A request is a script: one command a line, run in order. The first failure, or a `stop` at a
 * checkpoint, skips what follows, but for lines that begin with `always`. A line that begins with
 * `try` may fail without ending the script. Every line yields one block of the response.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 512
#define AT_MAX 16
#define RESERVE_BYTES (1UL << 20) /* for the headers of all blocks that follow a long one */

struct command {
	const char *name;
	int min_args;
	int max_args; /* -1: any number */
	cmd_fn run;
	bool kernel_log; /* a failure is best explained by what the kernel logged meanwhile */
};

static const struct command commands[] = {
	{ "begin", 1, 2, cmd_begin, false },
	{ "step", 2, 8, cmd_step, false },
	{ "end", 0, 0, cmd_end, false },
	{ "tree", 2, 3, cmd_tree, false },
	{ "probe", 1, 1, cmd_probe, false },
	{ "mount", 4, 4, cmd_mount, true },
	{ "remount", 2, 2, cmd_remount, true },
	{ "umount", 1, 1, cmd_umount, true },
	{ "dm-create", 4, -1, cmd_dm_create, true },
	{ "dm-remove", 1, 1, cmd_dm_remove, true },
	{ "dm-suspend", 1, 1, cmd_dm_suspend, true },
	{ "dm-resume", 1, 1, cmd_dm_resume, true },
	{ "dm-status", 1, 1, cmd_dm_status, false },
	{ "dm-table", 1, 1, cmd_dm_table, false },
	{ "dm-message", 3, -1, cmd_dm_message, true },
	{ "dm-wait", 3, -1, cmd_dm_wait, false },
	{ "file-status", 1, 1, cmd_file_status, false },
	{ "file-wait", 3, -1, cmd_file_wait, false },
	{ "file-read", 1, 1, cmd_file_read, false },
	{ "file-put", 2, 2, cmd_file_put, false },
	{ "file-append", 2, 2, cmd_file_append, false },
	{ "digest", 2, 2, cmd_digest, false },
	{ "blockmap", 2, 2, cmd_blockmap, false },
	{ "readblock", 2, 2, cmd_readblock, false },
	{ "zero", 2, 2, cmd_zero, false },
	{ "flush", 1, 1, cmd_flush, false },
	{ "image-save", 3, 3, cmd_image_save, false },
	{ "image-restore", 2, 2, cmd_image_restore, false },
	{ "image-restore-diff", 2, 2, cmd_image_restore_diff, false },
	{ "image-drop", 1, 1, cmd_image_drop, false },
	{ "load", 4, 4, cmd_load, false },
	{ "load-scan", 2, 2, cmd_load_scan, false },
	{ "serve", 1, 1, cmd_serve, false },
	{ "exec", 2, -1, cmd_exec, false },
	{ "job", 4, -1, cmd_job, false },
	{ "install", 1, 1, cmd_install, false },
	{ "insmod", 1, 2, cmd_insmod, true },
	{ "rmmod", 1, 1, cmd_rmmod, true },
	{ "key-add", 3, 3, cmd_key_add, false },
	{ "netup", 2, 3, cmd_netup, false },
	{ "net-delay", 2, 2, cmd_net_delay, false },
	{ "drop-caches", 0, 1, cmd_drop_caches, false },
	{ "kmsg", 1, 1, cmd_kmsg, false },
	{ "poweroff", 0, 0, cmd_poweroff, false },
	{ "panic", 0, 0, cmd_panic, false },
};

static const struct buf nothing;

struct script {
	struct conn *conn;
	uint32_t id;
	struct buf reply;
	bool over; /* failed or told to stop */
	struct {
		char *word; /* NULL: at a checkpoint; else at a rendezvous whose first word this is */
		char *line;
	} at[AT_MAX];
	int at_count;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Decode a percent-encoded word in place; a lone '%' is the empty word. */
static bool decode_word(char *word)
{
	char *dst = word;

	if (!strcmp(word, "%")) {
		*word = '\0';
		return true;
	}
	for (; *word; dst++) {
		int high, low;

		if (*word != '%') {
			*dst = *word++;
			continue;
		}
		high = hex_digit(word[1]);
		low = high < 0 ? -1 : hex_digit(word[2]);
		if (low < 0 || !(high | low)) /* no word may hold a NUL */
			return false;
		*dst = (char)(high << 4 | low);
		word += 3;
	}
	*dst = '\0';
	return true;
}

/* Split @line in place into decoded words; -1 if it is malformed. */
static int split_line(char *line, char **words)
{
	int count = 0;
	char *word;

	while ((word = strsep(&line, " "))) {
		if (!*word || count == WORDS_MAX || !decode_word(word))
			return -1;
		words[count++] = word;
	}
	words[count] = NULL;
	return count;
}

static int run_command(const struct cmd *cmd, struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *known = &commands[i];
		int args = cmd->argc - 1;
		int ret;

		if (strcmp(known->name, cmd->argv[0]))
			continue;
		if (args < known->min_args || (known->max_args >= 0 && args > known->max_args))
			return fail_with(EINVAL, out, known->name, "wrong number of arguments");
		if (known->kernel_log)
			kernel_log_mark();
		ret = known->run(cmd, out);
		if (ret < 0 && known->kernel_log)
			kernel_log_since_mark(out);
		return ret;
	}
	return fail_with(ENOSYS, out, "command", cmd->argv[0]);
}

static void add_block(struct buf *reply, int index, const char *state, int status, uint64_t us,
		      const struct buf *payload)
{
	buf_printf(reply, "R %d %s %d %llu %zu\n", index, state, status, (unsigned long long)us,
		   payload->len);
	buf_add(reply, payload->data, payload->len);
	buf_add(reply, "\n", 1);
}

/* Run one command and append its block; the response as a whole has to fit a frame. */
static int run_into(struct buf *reply, int index, const struct cmd *cmd,
		    int (*run)(const struct cmd *, struct buf *))
{
	struct buf out = { 0 };
	uint64_t start = now_us();
	int ret = run(cmd, &out);

	if (reply->len + out.len > FRAME_PAYLOAD_MAX - RESERVE_BYTES) {
		buf_free(&out);
		ret = fail_with(EMSGSIZE, &out, cmd->argv[0], "response exceeds 64 MiB");
	}
	add_block(reply, index, ret ? "err" : "ok", ret, now_us() - start, &out);
	buf_free(&out);
	return ret;
}

/* The host's word at a checkpoint: true to go on. A new request or HELLO means it has moved on. */
static bool wait_continue(struct script *s)
{
	struct frame f;

	while (conn_next(s->conn, &f)) {
		if (f.type == FRAME_CONTINUE && f.id == s->id)
			return f.len == 2 && !memcmp(f.payload, "go", 2);
		if (f.type == FRAME_HELLO || f.type == FRAME_REQUEST) {
			conn_unread(s->conn);
			return false;
		}
	}
	return false;
}

static struct script *running;

bool script_event(const struct buf *event)
{
	conn_send(running->conn, FRAME_EVENT, running->id, event->data, event->len);
	return wait_continue(running);
}

static int refuse_line(const struct cmd *cmd, struct buf *out)
{
	return fail_with(EINVAL, out, "script", cmd->argv[0]);
}

static int refuse_checkpoint(const struct cmd *cmd, struct buf *out)
{
	return fail_with(EINVAL, out, cmd->argv[0], "checkpoint needs `begin` before it and a number");
}

static int refuse_registration(const struct cmd *cmd, struct buf *out)
{
	return fail_with(E2BIG, out, "at", cmd->argv[0]);
}

/* Append a block for each command that was kept for @word. */
static void gather(struct script *s, const char *word, struct buf *event)
{
	for (int i = 0; i < s->at_count; i++) {
		char *words[WORDS_MAX + 1];
		struct cmd cmd = { .argv = words };
		char *text;

		if (!word != !s->at[i].word || (word && strcmp(word, s->at[i].word)))
			continue;
		text = strdup(s->at[i].line);
		if (!text)
			fatal("out of memory");
		cmd.argc = split_line(text, words);
		run_into(event, i, &cmd, run_command);
		free(text);
	}
}

/* `step LINE checkpoint K`: gather what was asked for, tell the host, and wait for its word. */
static void run_checkpoint(struct script *s, int index, const char *line, const char *number)
{
	struct buf event = { 0 }, word = { 0 };
	uint64_t start = now_us();

	buf_printf(&event, "checkpoint %s %s\n", number, line);
	gather(s, NULL, &event);
	s->over = !script_event(&event);
	buf_printf(&word, "%s", s->over ? "stop" : "go");
	add_block(&s->reply, index, "ok", 0, now_us() - start, &word);
	buf_free(&event);
	buf_free(&word);
}

bool script_rendezvous(const char *line)
{
	struct buf event = { 0 };
	char *copy = strdup(line), *rest = copy, *first = strsep(&rest, " ");
	bool go;

	if (!copy)
		fatal("out of memory");
	buf_printf(&event, "rendezvous ");
	buf_add_encoded(&event, line);
	buf_printf(&event, "\n");
	gather(running, first, &event);
	go = script_event(&event);
	buf_free(&event);
	free(copy);
	return go;
}

/* Keep the command for what is to come; it has to be well-formed now. */
static int keep(struct script *s, int index, const char *word, const char *line)
{
	char *words[WORDS_MAX + 1] = { "" };
	struct cmd cmd = { .argv = words };
	char *copy = strdup(line);
	int ret = 0;

	if (!copy)
		fatal("out of memory");
	if (split_line(copy, words) < 0) {
		ret = run_into(&s->reply, index, &cmd, refuse_line);
	} else if (s->at_count == AT_MAX) {
		ret = run_into(&s->reply, index, &cmd, refuse_registration);
	} else {
		s->at[s->at_count].word = word ? strdup(word) : NULL;
		s->at[s->at_count++].line = strdup(line);
		add_block(&s->reply, index, "ok", 0, 0, &nothing);
	}
	free(copy);
	return ret;
}

/* The line after `at-rendezvous WORD `; NULL if there is none. */
static char *take_word(char **line)
{
	char *word = strsep(line, " ");

	return *line && *word && decode_word(word) ? word : NULL;
}

/* Run a line that is a command or a checkpoint. */
static int run_plain(struct script *s, int index, char *line, bool *may_fail)
{
	char *words[WORDS_MAX + 1] = { "" };
	struct cmd cmd = { .argv = words };
	bool step;
	int ret;

	cmd.argc = split_line(line, words);
	if (cmd.argc < 0)
		return run_into(&s->reply, index, &cmd, refuse_line);
	step = !strcmp(words[0], "step");
	if (!step || cmd.argc < 3 || strcmp(words[2], "checkpoint")) {
		*may_fail |= step && run_keeps_going();
		ret = run_into(&s->reply, index, &cmd, run_command);
	} else if (run_active() && cmd.argc == 4) {
		run_checkpoint(s, index, words[1], words[3]);
		ret = 0;
	} else {
		ret = run_into(&s->reply, index, &cmd, refuse_checkpoint);
	}
	return ret;
}

static bool take_prefix(char **line, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(*line, prefix, len))
		return false;
	*line += len;
	return true;
}

static void run_line(struct script *s, int index, char *line)
{
	bool always = take_prefix(&line, "always ");
	bool may_fail = take_prefix(&line, "try ");
	int ret;

	if (s->over && !always) {
		add_block(&s->reply, index, "skipped", 0, 0, &nothing);
		return;
	}
	if (take_prefix(&line, "at-checkpoint ")) {
		ret = keep(s, index, NULL, line);
	} else if (take_prefix(&line, "at-rendezvous ")) {
		char *word = take_word(&line);

		ret = keep(s, index, word, word ? line : "");
	} else {
		ret = run_plain(s, index, line, &may_fail);
	}
	if (ret && !may_fail)
		s->over = true;
	/* No handle may outlive the run: clean-up lines have to be able to unmount. */
	if (s->over)
		run_close(NULL);
}

void script_run(struct conn *c, uint32_t id, const char *text, size_t len)
{
	struct script s = { .conn = c, .id = id };
	char *copy = strndup(text, len);
	char *rest = copy, *line;
	int index = 0;

	if (!copy)
		fatal("out of memory");
	running = &s;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			run_line(&s, index++, line);
	run_close(NULL);
	running = NULL;
	conn_send(c, FRAME_RESPONSE, id, s.reply.data, s.reply.len);
	for (int i = 0; i < s.at_count; i++) {
		free(s.at[i].word);
		free(s.at[i].line);
	}
	buf_free(&s.reply);
	free(copy);
}
