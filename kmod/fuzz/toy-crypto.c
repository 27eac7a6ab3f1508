// SPDX-License-Identifier: GPL-2.0-only
/*
 * -crypto for the fuzzer: keyed hashes that are fast and worth nothing.  They
 * tell any two inputs apart, which is all that the properties need.
 */
#include <stdlib.h>

#include "dm-rollbaccine-crypto.h"
#include "fuzz.h"

struct rb_mac {
	u64 key;
	unsigned int bytes;
};

struct rb_keys {
	u64 master;
	struct rb_mac auth;
};

static u64 toy_hash(u64 state, const void *bytes, size_t len)
{
	const u8 *p = bytes;

	for (; len; len--, p++) {
		state = (state ^ *p) * 0x9e3779b97f4a7c15ull;
		state ^= state >> 29;
	}
	return state;
}

static void toy_expand(u64 state, u8 *ret, unsigned int bytes)
{
	unsigned int i;

	for (i = 0; i < bytes; i++) {
		state = toy_hash(state, &i, sizeof(i));
		ret[i] = state >> 56;
	}
}

struct rb_keys *toy_keys(u64 master)
{
	struct rb_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		abort();
	keys->master = master;
	keys->auth.key = toy_hash(master, "auth", 4);
	keys->auth.bytes = RB_PROOF_BYTES;
	return keys;
}

bool toy_keys_same(const struct rb_keys *a, const struct rb_keys *b)
{
	return a->master == b->master;
}

void rb_keys_destroy(struct rb_keys *keys)
{
	free(keys);
}

bool rb_keys_encrypted(const struct rb_keys *keys)
{
	return keys->master;
}

struct rb_mac *rb_keys_auth(struct rb_keys *keys)
{
	return &keys->auth;
}

struct rb_mac *rb_mac_create(struct rb_keys *keys, enum rb_mac_kind kind,
			     const void *context, size_t len)
{
	struct rb_mac *mac = calloc(1, sizeof(*mac));

	if (!mac)
		abort();
	mac->key = toy_hash(toy_hash(keys->master, &kind, sizeof(kind)),
			    context, len);
	mac->bytes = kind == RB_MAC_AUTH ? RB_PROOF_BYTES : RB_MAC_BYTES;
	return mac;
}

void rb_mac_destroy(struct rb_mac *mac)
{
	free(mac);
}

int rb_mac_compute(struct rb_mac *mac, u64 seq, const struct kvec *vec,
		   unsigned int count, u8 *ret)
{
	u64 state = toy_hash(mac->key, &seq, sizeof(seq));
	unsigned int i;

	for (i = 0; i < count; i++)
		state = toy_hash(state, vec[i].iov_base, vec[i].iov_len);
	toy_expand(state, ret, mac->bytes);
	return 0;
}

void rb_hash(const struct kvec *vec, unsigned int count, u8 *ret)
{
	u64 state = 1;
	unsigned int i;

	for (i = 0; i < count; i++)
		state = toy_hash(state, vec[i].iov_base, vec[i].iov_len);
	toy_expand(state, ret, RB_HASH_BYTES);
}
