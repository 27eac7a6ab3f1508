// SPDX-License-Identifier: Apache-2.0
/*
 * Read a file tree back: one line of facts per name, and the content of regular files. An error on
 * one entry is a fact about that entry; it never ends the reading.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH_MAX 64
#define ENTRIES_MAX 200000
#define CONTENT_DEFAULT (1UL << 20)
#define CONTENT_TOTAL_MAX (48UL << 20)
/* A damaged inode may claim exabytes: no digest for more than this. */
#define DIGEST_MAX (256UL << 20)
#define DIGEST_BYTES 16

struct name {
	char *path;
	unsigned char type; /* d_type, for entries that cannot be stat'ed */
	int error; /* of opening or reading the directory */
	const char *call;
};

struct walk {
	const char *root;
	struct name *names;
	size_t count;
	size_t cap;
	bool content;
	uint64_t limit;
	uint64_t content_left;
};

static size_t add_name(struct walk *w, const char *parent, const char *name, unsigned char type)
{
	struct buf path = { 0 };

	if (w->count == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->names = realloc(w->names, w->cap * sizeof(*w->names));
		if (!w->names)
			fatal("out of memory");
	}
	buf_printf(&path, "%s%s%s", parent, *parent ? "/" : "", name);
	w->names[w->count] = (struct name){ .path = path.data, .type = type };
	return w->count++;
}

static void full_path(const struct walk *w, const char *path, struct buf *full)
{
	full->len = 0;
	buf_printf(full, "%s%s%s", w->root, *path ? "/" : "", path);
}

static void note(struct walk *w, size_t at, const char *call, int error)
{
	if (w->names[at].error)
		return;
	w->names[at].call = call;
	w->names[at].error = error;
}

/* Access times must not change: a live file system is watched, and must not be written to by it. */
static int open_quietly(const char *path, int flags)
{
	int fd = open(path, flags | O_RDONLY | O_NOATIME | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == EPERM) /* not ours: only in tests without privileges */
		fd = open(path, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd;
}

static bool is_dir(const char *full, unsigned char type)
{
	struct stat st;

	if (type != DT_UNKNOWN && type != DT_DIR)
		return false;
	return lstat(full, &st) < 0 ? type == DT_DIR : S_ISDIR(st.st_mode);
}

static void walk_dir(struct walk *w, size_t at, int depth)
{
	struct buf full = { 0 };
	struct dirent *entry;
	size_t first = w->count, end;
	int fd;
	DIR *dir;

	full_path(w, w->names[at].path, &full);
	fd = depth < DEPTH_MAX ? open_quietly(full.data, O_DIRECTORY) : (errno = ELOOP, -1);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		note(w, at, "opendir", errno);
		buf_free(&full);
		return;
	}
	while (errno = 0, entry = readdir(dir)) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (w->count == ENTRIES_MAX) {
			errno = E2BIG;
			break;
		}
		add_name(w, w->names[at].path, entry->d_name, entry->d_type);
	}
	if (errno)
		note(w, at, "readdir", errno);
	closedir(dir);
	for (end = w->count; first < end; first++) {
		full_path(w, w->names[first].path, &full);
		if (is_dir(full.data, w->names[first].type))
			walk_dir(w, first, depth + 1);
	}
	buf_free(&full);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

/* mkfs makes lost+found; it says something only when fsck or recovery put an entry into it. */
static bool is_empty_lost_found(const struct walk *w, size_t at)
{
	static const char prefix[] = "lost+found/";

	if (strcmp(w->names[at].path, "lost+found") || w->names[at].error)
		return false;
	for (size_t i = 0; i < w->count; i++)
		if (!strncmp(w->names[i].path, prefix, sizeof(prefix) - 1))
			return false;
	return true;
}

static const char *kind_of_mode(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "chardev";
	case S_IFBLK:
		return "blockdev";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "file";
	}
}

static void add_xattrs(const char *full, struct buf *line, struct name *n)
{
	char names[16384], value[65536];
	ssize_t len = llistxattr(full, names, sizeof(names));
	bool first = true;

	if (len < 0 && errno != EOPNOTSUPP && !n->error) {
		n->call = "llistxattr";
		n->error = errno;
	}
	for (char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
		ssize_t got = lgetxattr(full, name, value, sizeof(value));

		if (got < 0 && !n->error) {
			n->call = "lgetxattr";
			n->error = errno;
		}
		if (got < 0)
			continue;
		if (!first)
			buf_add(line, ",", 1);
		first = false;
		buf_add_encoded(line, name);
		buf_add(line, "=", 1);
		for (ssize_t i = 0; i < got; i++)
			buf_printf(line, "%02x", (unsigned char)value[i]);
	}
	if (first)
		buf_add(line, "-", 1);
}

static void add_link(const char *full, const struct stat *st, struct buf *line, struct name *n)
{
	char target[PATH_MAX + 1];
	ssize_t len;

	if (!S_ISLNK(st->st_mode)) {
		buf_add(line, "-", 1);
		return;
	}
	len = readlink(full, target, PATH_MAX);
	if (len < 0) {
		n->call = "readlink";
		n->error = errno;
		buf_add(line, "-", 1);
		return;
	}
	target[len] = '\0';
	buf_add(line, "=", 1); /* a link to "-" is not a missing link */
	buf_add_encoded(line, target);
}

/* Append the file's bytes to @content, or hash them if there is none. False if reading failed. */
static bool read_file(const char *full, struct blake2b *hash, struct buf *content, struct name *n)
{
	int fd = open_quietly(full, 0);
	char *chunk = chunk_buffer();
	uint64_t total = 0;
	ssize_t got = 0;

	blake2b_init(hash, DIGEST_BYTES);
	while (fd >= 0 && (got = read(fd, chunk, CHUNK_BYTES)) > 0) {
		if (content)
			buf_add(content, chunk, (size_t)got);
		else
			blake2b_update(hash, chunk, (size_t)got);
		total += (uint64_t)got;
		if (total > DIGEST_MAX) {
			errno = EFBIG;
			got = -1;
			break;
		}
	}
	if (fd < 0 || got < 0) {
		n->call = fd < 0 ? "open" : "read";
		n->error = errno;
	}
	if (fd >= 0)
		close(fd);
	return !n->error;
}

static void add_content(struct walk *w, const char *full, const struct stat *st, struct buf *line,
			struct buf *content, struct name *n)
{
	uint64_t size = (uint64_t)st->st_size;
	bool keep = size <= w->limit && size <= w->content_left;
	struct blake2b hash;

	if (!w->content || !S_ISREG(st->st_mode)) {
		buf_printf(line, "- -");
		return;
	}
	if (size > DIGEST_MAX && !n->error) {
		n->call = "read";
		n->error = EFBIG;
	}
	if (n->error || !read_file(full, &hash, keep ? content : NULL, n)) {
		buf_printf(line, "- -");
		content->len = 0;
		return;
	}
	/* Whoever has the content can hash it, and a host does so faster than an emulated guest. */
	if (keep) {
		buf_printf(line, "- %zu", content->len);
	} else {
		blake2b_hex(&hash, line);
		buf_printf(line, " -");
	}
	w->content_left -= content->len < w->content_left ? content->len : w->content_left;
}

static long long ns_of(const struct timespec *ts)
{
	return (long long)ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

/* E PATH KIND MODE UID GID NLINK SIZE BLOCKS INO MTIME CTIME RDEV XATTRS LINK DIGEST LEN ERROR */
static void emit(struct walk *w, struct name *n, struct buf *full, struct buf *out)
{
	struct buf line = { 0 }, content = { 0 };
	struct stat st = { 0 };

	full_path(w, n->path, full);
	if (lstat(full->data, &st) < 0) {
		n->call = "lstat";
		n->error = errno;
		st.st_mode = DTTOIF(n->type);
	}
	buf_add(&line, "E ", 2);
	buf_add_encoded(&line, n->path);
	buf_printf(&line, " %s %o %u %u %lu %lld %lld %lu %lld %lld %lu ", kind_of_mode(st.st_mode),
		   st.st_mode & 07777, st.st_uid, st.st_gid, (unsigned long)st.st_nlink,
		   (long long)st.st_size, (long long)st.st_blocks, (unsigned long)st.st_ino,
		   ns_of(&st.st_mtim), ns_of(&st.st_ctim), (unsigned long)st.st_rdev);
	if (n->call && !strcmp(n->call, "lstat")) {
		buf_printf(&line, "- - - -");
	} else {
		add_xattrs(full->data, &line, n);
		buf_add(&line, " ", 1);
		add_link(full->data, &st, &line, n);
		buf_add(&line, " ", 1);
		add_content(w, full->data, &st, &line, &content, n);
	}
	buf_add(&line, " ", 1);
	if (n->error) {
		const char *name = strerrorname_np(n->error);
		struct buf text = { 0 };

		buf_printf(&text, "%s: %s", n->call, name ? name : "E?");
		buf_add_encoded(&line, text.data);
		buf_free(&text);
	} else {
		buf_add(&line, "-", 1);
	}
	buf_printf(out, "%s\n", line.data);
	if (content.len) {
		buf_add(out, content.data, content.len);
		buf_add(out, "\n", 1);
	}
	buf_free(&line);
	buf_free(&content);
}

/* tree DIR full|meta [LIMIT] */
int cmd_tree(const struct cmd *cmd, struct buf *out)
{
	struct walk w = {
		.root = cmd->argv[1],
		.content = !strcmp(cmd->argv[2], "full"),
		.limit = CONTENT_DEFAULT,
		.content_left = CONTENT_TOTAL_MAX,
	};
	struct buf full = { 0 };
	struct stat st;

	if (!w.content && strcmp(cmd->argv[2], "meta"))
		return fail_with(EINVAL, out, "tree", cmd->argv[2]);
	if (cmd->argc == 4 && !parse_u64(cmd->argv[3], &w.limit))
		return fail_with(EINVAL, out, "tree", cmd->argv[3]);
	if (stat(w.root, &st) < 0)
		return fail(out, "stat", "%s", w.root);
	if (!S_ISDIR(st.st_mode))
		return fail_with(ENOTDIR, out, "tree", w.root);
	walk_dir(&w, add_name(&w, "", "", DT_DIR), 0);
	qsort(w.names, w.count, sizeof(*w.names), compare_names);
	for (size_t i = 0; i < w.count; i++) {
		if (!is_empty_lost_found(&w, i))
			emit(&w, &w.names[i], &full, out);
	}
	for (size_t i = 0; i < w.count; i++)
		free(w.names[i].path);
	free(w.names);
	buf_free(&full);
	return 0;
}
