// SPDX-License-Identifier: Apache-2.0
/* Use a recovered file system: it has to take new files, and to be emptied. */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PROBE_DIR "harness-probe"
#define PROBE_BYTES 16384
#define PROBE_LINE 9999
#define DEPTH_MAX 64

static int fill(const char *path, struct buf *out)
{
	char *want = chunk_buffer();
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int ret = 0;

	if (fd < 0)
		return fail(out, "open", "%s", path);
	pattern_fill(want, PROBE_LINE, 0, PROBE_BYTES);
	errno = ENOSPC;
	if (pwrite(fd, want, PROBE_BYTES, 0) != PROBE_BYTES)
		ret = fail(out, "pwrite", "%s", path);
	if (close(fd) < 0 && !ret)
		ret = fail(out, "close", "%s", path);
	return ret;
}

/* What was written and synced. */
static int read_back(const char *path, struct buf *out)
{
	char *want = chunk_buffer(), *got = want + PROBE_BYTES;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return fail(out, "open", "%s", path);
	pattern_fill(want, PROBE_LINE, 0, PROBE_BYTES);
	/* What is clean leaves the cache, so that the read comes from the device. */
	if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		ret = fail(out, "posix_fadvise", "%s", path);
	errno = ENODATA;
	if (!ret && pread(fd, got, PROBE_BYTES, 0) != PROBE_BYTES)
		ret = fail(out, "pread", "%s", path);
	if (!ret && memcmp(want, got, PROBE_BYTES))
		ret = fail_with(EILSEQ, out, "compare", path);
	close(fd);
	return ret;
}

static int sync_here(struct buf *out)
{
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return fail(out, "open", ".");
	if (syncfs(fd) < 0)
		ret = fail(out, "syncfs", ".");
	close(fd);
	return ret;
}

/* Run inside the directory to be probed. */
static int use_names(struct buf *out)
{
	static const char file[] = PROBE_DIR "/file", hard[] = PROBE_DIR "/hard";
	static const char soft[] = PROBE_DIR "/soft", other[] = PROBE_DIR "/other";
	struct stat st;
	int ret;

	if (mkdir(PROBE_DIR, 0755) < 0)
		return fail(out, "mkdir", PROBE_DIR);
	ret = fill(file, out);
	if (!ret)
		ret = fill(other, out);
	if (!ret)
		ret = sync_here(out);
	if (!ret)
		ret = read_back(file, out);
	if (!ret)
		ret = read_back(other, out);
	if (ret)
		return ret;
	if (link(file, hard) < 0)
		return fail(out, "link", "%s", hard);
	if (symlink("file", soft) < 0)
		return fail(out, "symlink", "%s", soft);
	if (rename(file, other) < 0)
		return fail(out, "rename", "%s", file);
	if (stat(other, &st) < 0)
		return fail(out, "stat", "%s", other);
	if (st.st_nlink != 2)
		return fail_with(EMLINK, out, "link count after rename", other);
	if (setxattr(other, "user.probe", "1", 1, 0) < 0)
		return fail(out, "setxattr", "%s", other);
	return 0;
}

static int remove_entries(const char *path, bool top, int depth, struct buf *out);

static int remove_entry(const char *path, int depth, struct buf *out)
{
	struct stat st;
	int ret;

	if (lstat(path, &st) < 0)
		return fail(out, "lstat", "%s", path);
	if (!S_ISDIR(st.st_mode))
		return unlink(path) < 0 ? fail(out, "unlink", "%s", path) : 0;
	ret = remove_entries(path, false, depth + 1, out);
	if (ret)
		return ret;
	return rmdir(path) < 0 ? fail(out, "rmdir", "%s", path) : 0;
}

static bool is_kept(const char *name, bool top)
{
	return !strcmp(name, ".") || !strcmp(name, "..") || (top && !strcmp(name, "lost+found"));
}

/*
 * Remove what is in @path. With @top, lost+found stays. The names are read before any is removed:
 * what readdir yields of a directory that shrinks meanwhile is not defined.
 */
static int remove_entries(const char *path, bool top, int depth, struct buf *out)
{
	struct dirent **entries = NULL;
	int count, ret = 0;

	if (depth == DEPTH_MAX)
		return fail_with(ELOOP, out, "remove", path);
	count = scandir(path, &entries, NULL, NULL);
	if (count < 0)
		return fail(out, "readdir", "%s", path);
	for (int i = 0; i < count; i++) {
		struct buf child = { 0 };

		buf_printf(&child, "%s/%s", path, entries[i]->d_name);
		if (!ret && !is_kept(entries[i]->d_name, top))
			ret = remove_entry(child.data, depth, out);
		buf_free(&child);
		free(entries[i]);
	}
	free(entries);
	return ret;
}

static int check_empty(struct buf *out)
{
	DIR *dir = opendir(".");
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return fail(out, "opendir", ".");
	while (!ret && (errno = 0, entry = readdir(dir)))
		if (!is_kept(entry->d_name, true))
			ret = fail_with(ENOTEMPTY, out, "still there", entry->d_name);
	if (!ret && errno)
		ret = fail(out, "readdir", ".");
	closedir(dir);
	return ret;
}

/* probe DIR */
int cmd_probe(const struct cmd *cmd, struct buf *out)
{
	int ret;

	if (run_active())
		return fail_with(EBUSY, out, "probe", "a run is active");
	if (chdir(cmd->argv[1]) < 0)
		return fail(out, "chdir", "%s", cmd->argv[1]);
	ret = use_names(out);
	if (!ret)
		ret = remove_entries(".", true, 0, out);
	if (!ret)
		ret = check_empty(out);
	if (!ret)
		ret = sync_here(out);
	if (chdir("/") < 0)
		fatal("chdir /");
	return ret;
}
