/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keys of a device, sealing and opening of blocks, message authentication.
 *
 * All of it runs in process context and may sleep.  What is marked "I/O path"
 * allocates nothing but from mempools, with GFP_NOIO, and may be called by any
 * number of threads at once without a lock in common.
 *
 * Keys come from the master key by SP800-108 (counter, HMAC-SHA256):
 *
 *	data	label "data", context cluster | epoch | salt	AES-256-GCM
 *	auth	label "auth"				handshake proofs
 *	session	label "session", context transcript | direction	messages
 *
 * A block is sealed with nonce index (8 bytes) | page (2) | 0 (2) under the key
 * of its epoch.  No two operations of a leadership have the same index, and no
 * two leaderships the same salt: (key, nonce) never repeats.  Block number,
 * epoch and index are authenticated with it.
 */
#ifndef DM_ROLLBACCINE_CRYPTO_H
#define DM_ROLLBACCINE_CRYPTO_H

#include "dm-rollbaccine-wire.h"

#ifdef __KERNEL__
#include <linux/uio.h>
struct bio;
struct page;
#endif

#define RB_MIN_KEY_BYTES 32u
#define RB_MAX_KEY_BYTES 512u

struct rb_keys;
struct rb_cipher;
struct rb_mac;

/* ---- the keys of a device -------------------------------------------- */

/**
 * rb_keys_load() - take the master key from the keyring of the caller
 * @spec: "logon:<description>", or "-" for no encryption, integrity and
 *	authentication
 *
 * Call it from the constructor: request_key() looks into the keyrings of the
 * process that made the device.  The key itself is not kept, only a keyed hash.
 *
 * Return: keys, or ERR_PTR: -EINVAL for a malformed @spec, -ENOKEY (or another
 * error of request_key()) without such a key, -EKEYREJECTED for one shorter
 * than RB_MIN_KEY_BYTES or longer than RB_MAX_KEY_BYTES, -ENOENT if the kernel
 * lacks gcm(aes) or hmac(sha256), -ENOMEM.
 */
struct rb_keys *rb_keys_load(const char *spec);

/* The same from bytes; @master NULL is "-".  The caller wipes @master. */
struct rb_keys *rb_keys_create(const u8 *master, size_t len);

/* All ciphers and sessions must have been put before.  NULL is fine. */
void rb_keys_destroy(struct rb_keys *keys);

/* Whether there is a key, thus anything that opening could verify. */
bool rb_keys_encrypted(const struct rb_keys *keys);

#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
/*
 * Seeded defects.  @nonce_reuse: nonces come from the block number alone, when
 * sealing and opening: to be set on all nodes.  @skip_tag_check: what does not
 * verify is taken for good.
 */
void rb_keys_set_faults(struct rb_keys *keys, bool nonce_reuse,
			bool skip_tag_check);
#endif

/* ---- epochs: one cipher each ----------------------------------------- */

/**
 * rb_keys_add_epoch() - make the cipher of a leadership
 * @keys: of the device
 * @cluster: the history it belongs to, RB_CLUSTER_BYTES
 * @epoch: number, salt and leader
 *
 * Not in the I/O path, but safe while I/O waits for it (GFP_NOIO).
 *
 * Return: 0, also if the same is known already; -EEXIST if that number is
 * known with another salt, leader or cluster; -ENOSPC beyond RB_MAX_EPOCHS;
 * -EINVAL for epoch 0; -ENOMEM or an error of the crypto API.
 */
int rb_keys_add_epoch(struct rb_keys *keys, const u8 *cluster,
		      const struct rb_epoch *epoch);

/* Forget one leadership (no block has a tag of it any more), or all of them. */
void rb_keys_forget_epoch(struct rb_keys *keys, u32 epoch);
void rb_keys_forget_all(struct rb_keys *keys);

/**
 * rb_keys_epochs() - list known leaderships in ascending order
 * @keys: of the device
 * @from: the lowest number wanted
 * @ret: room for @max
 * @max: how many at most
 *
 * Return: how many there are in @ret.  To go on: @from = last one's epoch + 1.
 */
unsigned int rb_keys_epochs(struct rb_keys *keys, u32 from,
			    struct rb_epoch *ret, unsigned int max);

/* A reference to the cipher of @epoch, NULL if it is not known.  I/O path. */
struct rb_cipher *rb_cipher_get(struct rb_keys *keys, u32 epoch);
void rb_cipher_put(struct rb_cipher *cipher); /* NULL is fine; any context */
u32 rb_cipher_epoch(const struct rb_cipher *cipher);

#ifdef __KERNEL__
/* ---- sealing and opening, I/O path ----------------------------------- */

/**
 * rb_seal() - encrypt one block
 * @cipher: of the leadership
 * @block: number of the block on the device
 * @tag: index and page set by the caller; the rest (epoch, state, tag) is
 *	filled in
 * @dst: a page of our own
 * @src: a page, may be @dst, may change meanwhile
 *
 * Return: 0 or an error of the crypto API (-EIO for lack of a better one); @dst
 * is zeroed then, never plaintext.
 */
int rb_seal(struct rb_cipher *cipher, u64 block, struct rb_tag *tag,
	    struct page *dst, struct page *src);

/**
 * rb_open() - decrypt and verify one block
 * @cipher: of the leadership in @tag
 * @block: number of the block on the device
 * @tag: the recorded one, state DATA
 * @dst: a page
 * @src: a page with what the disk or peer gave, may be @dst
 *
 * Without a key it copies and returns 0.
 *
 * Return: 0; -EBADMSG if it does not verify; -ESTALE if @cipher is of another
 * epoch; or an error of the crypto API.  On any error @dst is zeroed.
 */
int rb_open(struct rb_cipher *cipher, u64 block, const struct rb_tag *tag,
	    struct page *dst, struct page *src);

/**
 * rb_seal_bio() - encrypt all blocks of an operation
 * @cipher: of the leadership
 * @block: number of the first block
 * @index: of the operation
 * @tags: filled, one per block, page counted from 0
 * @dst: pages of our own, one request of the same length as @src; its bvecs
 *	have to begin at block boundaries
 * @src: the submitter's bio; a block may be scattered over its bvecs and may
 *	change meanwhile: what is sealed is then one of its contents, copied
 *
 * Neither bio is advanced; both are used from their bi_iter on.
 *
 * Return: 0 or an error; all of @dst is zeroed then.
 */
int rb_seal_bio(struct rb_cipher *cipher, u64 block, u64 index,
		struct rb_tag *tags, struct bio *dst, struct bio *src);

/**
 * rb_open_bio() - decrypt and verify a run of blocks
 * @keys: of the device; each tag may be of another epoch
 * @block: number of the first block
 * @tags: the recorded ones; EMPTY ones give zeros whatever @src holds
 * @bad: a bit is set for each block that did not verify (those are zeroed in
 *	@dst, the others are good); bits of good blocks are cleared
 * @dst: the submitter's bio; a block may be scattered over its bvecs
 * @src: pages of our own with what the disk gave, bvecs beginning at block
 *	boundaries; may be @dst; its content is clobbered
 *
 * Neither bio is advanced; both are used from their bi_iter on, @dst's length
 * counts.  Blocks of an unknown epoch do not verify.
 *
 * Return: the number of bad blocks.
 */
unsigned int rb_open_bio(struct rb_keys *keys, u64 block,
			 const struct rb_tag *tags, unsigned long *bad,
			 struct bio *dst, struct bio *src);

/**
 * rb_verify_bio() - check a run of blocks without decrypting them
 *
 * As rb_open_bio() with a scratch page in place of the destination: what a
 * backup does with a WRITE before it believes it.  @src is not changed.
 *
 * Return: the number of bad blocks.
 */
unsigned int rb_verify_bio(struct rb_keys *keys, u64 block,
			   const struct rb_tag *tags, unsigned long *bad,
			   struct bio *src);
#endif /* __KERNEL__ */

/* ---- message authentication ------------------------------------------ */

enum rb_mac_kind {
	RB_MAC_AUTH, /* RB_PROOF_BYTES, any number of inputs */
	RB_MAC_SESSION, /* RB_MAC_BYTES, each sequence number at most once */
};

/**
 * rb_mac_create() - derive a key for authentication
 * @keys: of the device
 * @kind: what it is for; it is a part of what the key is derived from
 * @context: what else it is derived from, may be NULL
 * @len: bytes of it
 *
 * Without a key in @keys, macs are checksums (crc32c).
 *
 * Return: the key or ERR_PTR.
 */
struct rb_mac *rb_mac_create(struct rb_keys *keys, enum rb_mac_kind kind,
			     const void *context, size_t len);
void rb_mac_destroy(struct rb_mac *mac); /* NULL is fine */

/**
 * rb_mac_compute() - authenticate bytes.  I/O path
 * @mac: key
 * @seq: sequence number; a RB_MAC_SESSION key sees each at most once
 * @vec: the bytes, in pieces
 * @count: pieces
 * @ret: RB_PROOF_BYTES or RB_MAC_BYTES, by the kind
 *
 * Return: 0 or an error of the crypto API.
 */
int rb_mac_compute(struct rb_mac *mac, u64 seq, const struct kvec *vec,
		   unsigned int count, u8 *ret);

/* The device's own RB_MAC_AUTH key, for the handshake. */
struct rb_mac *rb_keys_auth(struct rb_keys *keys);

/* SHA-256 */
void rb_hash(const struct kvec *vec, unsigned int count, u8 *ret);

#endif /* DM_ROLLBACCINE_CRYPTO_H */
