/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What -crypto and -seal share and nobody else knows.
 */
#ifndef DM_ROLLBACCINE_CIPHER_H
#define DM_ROLLBACCINE_CIPHER_H

#include <linux/completion.h>
#include <linux/crypto.h>
#include <linux/llist.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/scatterlist.h>
#include <linux/xarray.h>

#include <crypto/aead.h>

#include "dm-rollbaccine-crypto.h"

#define RB_GCM_IV_BYTES 12

struct rb_keys {
	struct crypto_shash *kdf; /* keyed with the master key; NULL: no key */
	struct crypto_aead *probe; /* keeps the algorithm at hand */
	struct rb_mac *auth;
	mempool_t pages; /* plaintext that nobody wants */

	struct mutex lock; /* changes of the rest */
	struct xarray ciphers; /* by epoch; readers use RCU */
	unsigned int count;
	struct llist_head dead; /* without a reference, to be freed */
#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
	bool nonce_reuse;
	bool skip_tag_check;
#endif
};

struct rb_cipher {
	struct rb_keys *keys;
	struct crypto_aead *aead; /* NULL: no key */
	refcount_t ref;
	struct rb_epoch epoch;
	u8 cluster[RB_CLUSTER_BYTES];
	mempool_t requests;
	struct llist_node dead;
};

/* What is authenticated beside the block itself. */
struct rb_seal_aad {
	__le64 block;
	__le64 index;
	__le32 epoch;
} __packed;

struct rb_seal_iv {
	__le64 index;
	__le16 page;
	__le16 zero;
} __packed;

static_assert(sizeof(struct rb_seal_iv) == RB_GCM_IV_BYTES);

/*
 * Sealing or opening of one block after the other.  Both lists are: additional
 * data, a block, the tag; in place, @out is the source as well.
 */
struct rb_request {
	struct crypto_wait wait;
	struct scatterlist in[3];
	struct scatterlist out[3];
	struct rb_seal_aad aad;
	struct rb_seal_iv iv;
	u8 tag[RB_GCM_TAG_BYTES];
	struct aead_request aead; /* what the algorithm wants follows */
};

#endif /* DM_ROLLBACCINE_CIPHER_H */
