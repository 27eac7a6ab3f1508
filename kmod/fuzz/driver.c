// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the fuzzer without a fuzzing engine: the same inputs on every machine.
 *
 *	wire-fuzz RUNS [SEED]	made-up inputs
 *	wire-fuzz -c FOLDER N	write N inputs, for an engine to start from
 *	wire-fuzz FILE...	inputs that an engine has found
 */
#include <signal.h>

#include "fuzz.h"

static u64 fuzz_state;
static u64 fuzz_current;

/* splitmix64 */
u64 fuzz_random(void)
{
	u64 z = fuzz_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Called by the address sanitizer, and when a property is violated. */
void __asan_on_error(void);
void __asan_on_error(void)
{
	fprintf(stderr, "in run %llu\n", (unsigned long long)fuzz_current);
}

static void fuzz_aborted(int signal)
{
	(void)signal;
	__asan_on_error();
}

/* On the heap and no longer than it is: what reads beyond it is found. */
static void fuzz_one(const u8 *data, size_t size)
{
	u8 *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

struct fuzz_tally {
	unsigned long accepted;
	unsigned long refused;
};

static unsigned int fuzz_message_type(const u8 *data)
{
	return data[sizeof(struct fuzz_message) +
		    offsetof(struct rb_wire_header, type)];
}

static void fuzz_run(u64 seed, struct fuzz_tally *tally)
{
	static u8 data[FUZZ_INPUT_MAX];
	size_t size;

	/* A run does not depend on those before it. */
	fuzz_state = seed;
	fuzz_current = seed;
	if (fuzz_random() % 4 == 0) {
		size = fuzz_generate_other(data);
		fuzz_one(data, size);
		return;
	}
	size = fuzz_generate_message(data);
	if (!fuzz_message(data, size)) {
		fprintf(stderr, "violated: a %s as encoded was refused\n",
			rb_wire_type_name(fuzz_message_type(data)));
		abort();
	}
	size = fuzz_mutate(data, size);
	data[0] = FUZZ_MESSAGE;
	fuzz_one(data, size);
	if (fuzz_message(data, size))
		tally->accepted++;
	else
		tally->refused++;
}

static int fuzz_runs(u64 runs, u64 seed)
{
	struct fuzz_tally tally = {};
	u64 i;

	signal(SIGABRT, fuzz_aborted);
	for (i = 0; i < runs; i++)
		fuzz_run(seed + i, &tally);
	printf("ok: %llu runs, %lu damaged messages refused, %lu still valid\n",
	       (unsigned long long)runs, tally.refused, tally.accepted);
	/* A fuzzer that is refused always, or never, looks at nothing. */
	return runs < 1000 || (tally.refused && tally.accepted) ? 0 : 1;
}

static int fuzz_corpus(const char *folder, u64 count)
{
	static u8 data[FUZZ_INPUT_MAX];
	char path[4096];
	size_t size;
	FILE *file;
	u64 i;

	for (i = 0; i < count; i++) {
		fuzz_state = i;
		size = i % 4 ? fuzz_generate_message(data) :
			       fuzz_generate_other(data);
		snprintf(path, sizeof(path), "%s/%llu", folder,
			 (unsigned long long)i);
		file = fopen(path, "wb");
		if (!file || fwrite(data, 1, size, file) != size ||
		    fclose(file)) {
			perror(path);
			return 1;
		}
	}
	return 0;
}

static int fuzz_file(const char *path)
{
	static u8 data[1 << 20];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file) {
		perror(path);
		return 1;
	}
	size = fread(data, 1, sizeof(data), file);
	fclose(file);
	fuzz_one(data, size);
	return 0;
}

int main(int argc, char **argv)
{
	char *end;
	u64 runs;
	int i;

	if (argc < 2) {
		fprintf(stderr, "RUNS [SEED] | -c FOLDER N | FILE...\n");
		return 2;
	}
	if (!strcmp(argv[1], "-c") && argc == 4)
		return fuzz_corpus(argv[2], strtoull(argv[3], NULL, 10));
	runs = strtoull(argv[1], &end, 10);
	if (!*end)
		return fuzz_runs(runs, argc > 2 ? strtoull(argv[2], NULL, 10) :
						  1);
	for (i = 1; i < argc; i++)
		if (fuzz_file(argv[i]))
			return 1;
	return 0;
}
