// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys, AES-GCM of blocks, and MACs, by the kernel's crypto API.
 *
 * The best gcm(aes) of most processors is one that the API calls asynchronous
 * although it almost always answers at once; so every call can wait.
 */
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/key.h>
#include <linux/llist.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <crypto/aead.h>
#include <crypto/hash.h>
#include <crypto/kdf_sp800108.h>
#include <crypto/sha2.h>

#include <keys/user-type.h>

#include "dm-rollbaccine-crypto.h"

#define RB_CIPHER_NAME "gcm(aes)"
#define RB_HMAC_NAME "hmac(sha256)"
#define RB_CHECKSUM_NAME "crc32c"
#define RB_KEY_BYTES 32
#define RB_GCM_IV_BYTES 12
/* Requests and pages that memory pressure cannot take from us. */
#define RB_CRYPTO_RESERVE 2

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

struct rb_mac {
	struct crypto_shash *tfm;
	unsigned int bytes; /* of a result */
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

/* ---- derivation ------------------------------------------------------ */

/* SP800-108 wants label, a zero byte, context. */
static int rb_derive(struct rb_keys *keys, const char *label,
		     const void *context, size_t len, u8 *key)
{
	const struct kvec info[] = {
		{ .iov_base = (void *)label, .iov_len = strlen(label) + 1 },
		{ .iov_base = (void *)context, .iov_len = len },
	};

	return crypto_kdf108_ctr_generate(keys->kdf, info, len ? 2 : 1, key,
					  RB_KEY_BYTES);
}

/* The crypto API allocates with GFP_KERNEL; I/O may be waiting for us. */
static struct crypto_shash *rb_alloc_shash(const char *name)
{
	unsigned int noio = memalloc_noio_save();
	struct crypto_shash *tfm = crypto_alloc_shash(name, 0, 0);

	memalloc_noio_restore(noio);
	return tfm;
}

static struct crypto_aead *rb_alloc_aead(void)
{
	unsigned int noio = memalloc_noio_save();
	struct crypto_aead *tfm = crypto_alloc_aead(RB_CIPHER_NAME, 0, 0);

	memalloc_noio_restore(noio);
	return tfm;
}

/* ---- message authentication ------------------------------------------ */

static int rb_mac_set_key(struct rb_keys *keys, struct rb_mac *mac,
			  enum rb_mac_kind kind, const void *context,
			  size_t len)
{
	u8 key[RB_KEY_BYTES];
	int ret;

	ret = rb_derive(keys, kind == RB_MAC_AUTH ? "auth" : "session", context,
			len, key);
	if (!ret)
		ret = crypto_shash_setkey(mac->tfm, key, sizeof(key));
	memzero_explicit(key, sizeof(key));
	return ret;
}

struct rb_mac *rb_mac_create(struct rb_keys *keys, enum rb_mac_kind kind,
			     const void *context, size_t len)
{
	struct rb_mac *mac;
	int ret;

	mac = kzalloc(sizeof(*mac), GFP_NOIO);
	if (!mac)
		return ERR_PTR(-ENOMEM);
	mac->bytes = kind == RB_MAC_AUTH ? RB_PROOF_BYTES : RB_MAC_BYTES;
	mac->tfm = rb_alloc_shash(keys->kdf ? RB_HMAC_NAME : RB_CHECKSUM_NAME);
	if (IS_ERR(mac->tfm)) {
		ret = PTR_ERR(mac->tfm);
		kfree(mac);
		return ERR_PTR(ret);
	}
	ret = keys->kdf ? rb_mac_set_key(keys, mac, kind, context, len) : 0;
	if (ret) {
		rb_mac_destroy(mac);
		return ERR_PTR(ret);
	}
	return mac;
}

void rb_mac_destroy(struct rb_mac *mac)
{
	if (!mac)
		return;
	crypto_free_shash(mac->tfm);
	kfree(mac);
}

int rb_mac_compute(struct rb_mac *mac, u64 seq, const struct kvec *vec,
		   unsigned int count, u8 *ret)
{
	SHASH_DESC_ON_STACK(desc, mac->tfm);
	const __le64 wire_seq = cpu_to_le64(seq);
	u8 digest[SHA256_DIGEST_SIZE] = {};
	unsigned int i;
	int err;

	desc->tfm = mac->tfm;
	err = crypto_shash_init(desc);
	if (!err)
		err = crypto_shash_update(desc, (const u8 *)&wire_seq,
					  sizeof(wire_seq));
	for (i = 0; i < count && !err; i++)
		err = crypto_shash_update(desc, vec[i].iov_base,
					  vec[i].iov_len);
	if (!err)
		err = crypto_shash_final(desc, digest);
	shash_desc_zero(desc);
	memcpy(ret, digest, mac->bytes);
	memzero_explicit(digest, sizeof(digest));
	return err;
}

struct rb_mac *rb_keys_auth(struct rb_keys *keys)
{
	return keys->auth;
}

void rb_hash(const struct kvec *vec, unsigned int count, u8 *ret)
{
	struct sha256_state state;
	unsigned int i;

	sha256_init(&state);
	for (i = 0; i < count; i++)
		sha256_update(&state, vec[i].iov_base, vec[i].iov_len);
	sha256_final(&state, ret);
}

/* ---- ciphers of epochs ----------------------------------------------- */

static void rb_cipher_free(struct rb_cipher *cipher)
{
	mempool_exit(&cipher->requests);
	if (cipher->aead)
		crypto_free_aead(cipher->aead);
	kfree(cipher);
}

static int rb_cipher_set_key(struct rb_cipher *cipher)
{
	struct {
		u8 cluster[RB_CLUSTER_BYTES];
		__le32 epoch;
		u8 salt[RB_SALT_BYTES];
	} __packed context;
	u8 key[RB_KEY_BYTES];
	int ret;

	memcpy(context.cluster, cipher->cluster, RB_CLUSTER_BYTES);
	context.epoch = cpu_to_le32(cipher->epoch.epoch);
	memcpy(context.salt, cipher->epoch.salt, RB_SALT_BYTES);
	ret = rb_derive(cipher->keys, "data", &context, sizeof(context), key);
	if (!ret)
		ret = crypto_aead_setkey(cipher->aead, key, sizeof(key));
	memzero_explicit(key, sizeof(key));
	return ret;
}

static int rb_cipher_init(struct rb_cipher *cipher)
{
	struct crypto_aead *aead = rb_alloc_aead();
	int ret;

	if (IS_ERR(aead))
		return PTR_ERR(aead);
	cipher->aead = aead;
	ret = crypto_aead_setauthsize(aead, RB_GCM_TAG_BYTES);
	if (!ret)
		ret = rb_cipher_set_key(cipher);
	if (ret)
		return ret;
	return mempool_init_kmalloc_pool(&cipher->requests, RB_CRYPTO_RESERVE,
					 sizeof(struct rb_request) +
					 crypto_aead_reqsize(aead));
}

static struct rb_cipher *rb_cipher_create(struct rb_keys *keys,
					  const u8 *cluster,
					  const struct rb_epoch *epoch)
{
	struct rb_cipher *cipher = kzalloc(sizeof(*cipher), GFP_NOIO);
	int ret;

	if (!cipher)
		return ERR_PTR(-ENOMEM);
	cipher->keys = keys;
	cipher->epoch = *epoch;
	memcpy(cipher->cluster, cluster, RB_CLUSTER_BYTES);
	refcount_set(&cipher->ref, 1);
	if (!keys->kdf)
		return cipher;
	ret = rb_cipher_init(cipher);
	if (!ret)
		return cipher;
	rb_cipher_free(cipher);
	return ERR_PTR(ret);
}

/*
 * Free what lost its last reference.  rb_cipher_get() may still be looking at
 * one that has just been taken out of the array.
 */
static void rb_keys_reap(struct rb_keys *keys)
{
	struct llist_node *dead = llist_del_all(&keys->dead);
	struct rb_cipher *cipher, *next;

	if (!dead)
		return;
	synchronize_rcu();
	llist_for_each_entry_safe(cipher, next, dead, dead)
		rb_cipher_free(cipher);
}

static bool rb_cipher_is(const struct rb_cipher *cipher, const u8 *cluster,
			 const struct rb_epoch *epoch)
{
	return cipher->epoch.leader == epoch->leader &&
	       !memcmp(cipher->epoch.salt, epoch->salt, RB_SALT_BYTES) &&
	       !memcmp(cipher->cluster, cluster, RB_CLUSTER_BYTES);
}

static int rb_keys_insert(struct rb_keys *keys, const u8 *cluster,
			  const struct rb_epoch *epoch)
{
	struct rb_cipher *cipher = xa_load(&keys->ciphers, epoch->epoch);
	int ret;

	if (cipher)
		return rb_cipher_is(cipher, cluster, epoch) ? 0 : -EEXIST;
	if (keys->count >= RB_MAX_EPOCHS)
		return -ENOSPC;
	cipher = rb_cipher_create(keys, cluster, epoch);
	if (IS_ERR(cipher))
		return PTR_ERR(cipher);
	ret = xa_err(xa_store(&keys->ciphers, epoch->epoch, cipher, GFP_NOIO));
	if (ret)
		rb_cipher_free(cipher);
	else
		keys->count++;
	return ret;
}

int rb_keys_add_epoch(struct rb_keys *keys, const u8 *cluster,
		      const struct rb_epoch *epoch)
{
	int ret;

	if (!epoch->epoch)
		return -EINVAL;
	mutex_lock(&keys->lock);
	rb_keys_reap(keys);
	ret = rb_keys_insert(keys, cluster, epoch);
	mutex_unlock(&keys->lock);
	return ret;
}

static void rb_keys_erase(struct rb_keys *keys, unsigned long epoch)
{
	struct rb_cipher *cipher = xa_erase(&keys->ciphers, epoch);

	if (!cipher)
		return;
	keys->count--;
	rb_cipher_put(cipher);
}

void rb_keys_forget_epoch(struct rb_keys *keys, u32 epoch)
{
	mutex_lock(&keys->lock);
	rb_keys_erase(keys, epoch);
	rb_keys_reap(keys);
	mutex_unlock(&keys->lock);
}

void rb_keys_forget_all(struct rb_keys *keys)
{
	struct rb_cipher *cipher;
	unsigned long epoch;

	mutex_lock(&keys->lock);
	xa_for_each(&keys->ciphers, epoch, cipher)
		rb_keys_erase(keys, epoch);
	rb_keys_reap(keys);
	mutex_unlock(&keys->lock);
}

unsigned int rb_keys_epochs(struct rb_keys *keys, u32 from,
			    struct rb_epoch *ret, unsigned int max)
{
	struct rb_cipher *cipher;
	unsigned int count = 0;
	unsigned long epoch;

	mutex_lock(&keys->lock);
	xa_for_each_start(&keys->ciphers, epoch, cipher, from) {
		if (count == max)
			break;
		ret[count++] = cipher->epoch;
	}
	mutex_unlock(&keys->lock);
	return count;
}

struct rb_cipher *rb_cipher_get(struct rb_keys *keys, u32 epoch)
{
	struct rb_cipher *cipher;

	rcu_read_lock();
	cipher = xa_load(&keys->ciphers, epoch);
	if (cipher && !refcount_inc_not_zero(&cipher->ref))
		cipher = NULL;
	rcu_read_unlock();
	return cipher;
}

/* Freeing a transform may sleep: left to whoever changes the keys next. */
void rb_cipher_put(struct rb_cipher *cipher)
{
	if (cipher && refcount_dec_and_test(&cipher->ref))
		llist_add(&cipher->dead, &cipher->keys->dead);
}

u32 rb_cipher_epoch(const struct rb_cipher *cipher)
{
	return cipher->epoch.epoch;
}

/* ---- keys of a device ------------------------------------------------ */

static int rb_keys_set_master(struct rb_keys *keys, const u8 *master,
			      size_t len)
{
	keys->probe = rb_alloc_aead();
	if (IS_ERR(keys->probe)) {
		int ret = PTR_ERR(keys->probe);

		keys->probe = NULL;
		return ret;
	}
	keys->kdf = rb_alloc_shash(RB_HMAC_NAME);
	if (IS_ERR(keys->kdf)) {
		int ret = PTR_ERR(keys->kdf);

		keys->kdf = NULL;
		return ret;
	}
	return crypto_kdf108_setkey(keys->kdf, master, len, NULL, 0);
}

static int rb_keys_init(struct rb_keys *keys, const u8 *master, size_t len)
{
	int ret;

	ret = mempool_init_page_pool(&keys->pages, RB_CRYPTO_RESERVE, 0);
	if (!ret && master)
		ret = rb_keys_set_master(keys, master, len);
	if (ret)
		return ret;
	keys->auth = rb_mac_create(keys, RB_MAC_AUTH, NULL, 0);
	if (!IS_ERR(keys->auth))
		return 0;
	ret = PTR_ERR(keys->auth);
	keys->auth = NULL;
	return ret;
}

struct rb_keys *rb_keys_create(const u8 *master, size_t len)
{
	struct rb_keys *keys;
	int ret;

	if (master && (len < RB_MIN_KEY_BYTES || len > RB_MAX_KEY_BYTES))
		return ERR_PTR(-EKEYREJECTED);
	keys = kzalloc(sizeof(*keys), GFP_KERNEL);
	if (!keys)
		return ERR_PTR(-ENOMEM);
	mutex_init(&keys->lock);
	xa_init(&keys->ciphers);
	init_llist_head(&keys->dead);
	ret = rb_keys_init(keys, master, len);
	if (!ret)
		return keys;
	rb_keys_destroy(keys);
	return ERR_PTR(ret);
}

void rb_keys_destroy(struct rb_keys *keys)
{
	if (!keys)
		return;
	rb_keys_forget_all(keys);
	xa_destroy(&keys->ciphers);
	rb_mac_destroy(keys->auth);
	mempool_exit(&keys->pages);
	if (keys->kdf)
		crypto_free_shash(keys->kdf);
	if (keys->probe)
		crypto_free_aead(keys->probe);
	kfree(keys);
}

struct rb_keys *rb_keys_load(const char *spec)
{
	static const char prefix[] = "logon:";
	const struct user_key_payload *payload;
	struct rb_keys *keys;
	struct key *key;

	if (!strcmp(spec, "-"))
		return rb_keys_create(NULL, 0);
	if (strncmp(spec, prefix, strlen(prefix)) || !spec[strlen(prefix)])
		return ERR_PTR(-EINVAL);
	key = request_key(&key_type_logon, spec + strlen(prefix), NULL);
	if (IS_ERR(key))
		return ERR_CAST(key);
	down_read(&key->sem);
	payload = user_key_payload_locked(key);
	if (payload)
		keys = rb_keys_create(payload->data, payload->datalen);
	else
		keys = ERR_PTR(-EKEYREVOKED);
	up_read(&key->sem);
	key_put(key);
	return keys;
}

bool rb_keys_encrypted(const struct rb_keys *keys)
{
	return keys->kdf;
}

/* ---- seeded defects -------------------------------------------------- */

#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
void rb_keys_set_faults(struct rb_keys *keys, bool nonce_reuse,
			bool skip_tag_check)
{
	keys->nonce_reuse = nonce_reuse;
	keys->skip_tag_check = skip_tag_check;
}

static bool rb_fault_nonce_reuse(const struct rb_cipher *cipher)
{
	return cipher->keys->nonce_reuse;
}

static bool rb_fault_skip_tag_check(const struct rb_cipher *cipher)
{
	return cipher->keys->skip_tag_check;
}
#else
static bool rb_fault_nonce_reuse(const struct rb_cipher *cipher)
{
	return false;
}

static bool rb_fault_skip_tag_check(const struct rb_cipher *cipher)
{
	return false;
}
#endif

/* ---- one block ------------------------------------------------------- */

/* A block somewhere in a page. */
struct rb_span {
	struct page *page;
	unsigned int offset;
};

static bool rb_span_same(struct rb_span a, struct rb_span b)
{
	return a.page == b.page && a.offset == b.offset;
}

static void rb_span_zero(struct rb_span span)
{
	memzero_page(span.page, span.offset, RB_BLOCK_BYTES);
}

static void rb_span_copy(struct rb_span dst, struct rb_span src)
{
	if (!rb_span_same(dst, src))
		memcpy_page(dst.page, dst.offset, src.page, src.offset,
			    RB_BLOCK_BYTES);
}

static struct rb_request *rb_request_get(struct rb_cipher *cipher)
{
	struct rb_request *request = mempool_alloc(&cipher->requests, GFP_NOIO);

	aead_request_set_tfm(&request->aead, cipher->aead);
	aead_request_set_ad(&request->aead, sizeof(request->aad));
	crypto_init_wait(&request->wait);
	aead_request_set_callback(&request->aead,
				  CRYPTO_TFM_REQ_MAY_BACKLOG |
				  CRYPTO_TFM_REQ_MAY_SLEEP,
				  crypto_req_done, &request->wait);
	return request;
}

static void rb_request_put(struct rb_cipher *cipher, struct rb_request *request)
{
	mempool_free(request, &cipher->requests);
}

static void rb_request_name(struct rb_cipher *cipher,
			    struct rb_request *request, u64 block,
			    const struct rb_tag *tag)
{
	request->aad.block = cpu_to_le64(block);
	request->aad.index = tag->index;
	request->aad.epoch = cpu_to_le32(cipher->epoch.epoch);
	request->iv.index = tag->index;
	request->iv.page = tag->page;
	request->iv.zero = 0;
	if (rb_fault_nonce_reuse(cipher)) {
		request->iv.index = cpu_to_le64(block);
		request->iv.page = 0;
	}
}

static void rb_request_list(struct rb_request *request, struct scatterlist *sg,
			    struct rb_span span)
{
	sg_init_table(sg, 3);
	sg_set_buf(&sg[0], &request->aad, sizeof(request->aad));
	sg_set_page(&sg[1], span.page, RB_BLOCK_BYTES, span.offset);
	sg_set_buf(&sg[2], request->tag, sizeof(request->tag));
}

static int rb_request_run(struct rb_request *request, struct rb_span dst,
			  struct rb_span src, bool seal)
{
	const unsigned int len = RB_BLOCK_BYTES +
				 (seal ? 0 : RB_GCM_TAG_BYTES);
	struct scatterlist *in = request->in;
	unsigned int noio;
	int ret;

	rb_request_list(request, request->out, dst);
	if (rb_span_same(dst, src))
		in = request->out;
	else
		rb_request_list(request, in, src);
	aead_request_set_crypt(&request->aead, in, request->out, len,
			       (u8 *)&request->iv);
	noio = memalloc_noio_save();
	ret = seal ? crypto_aead_encrypt(&request->aead) :
		     crypto_aead_decrypt(&request->aead);
	ret = crypto_wait_req(ret, &request->wait);
	memalloc_noio_restore(noio);
	return ret;
}

/* @request is NULL without a key. */
static int rb_seal_span(struct rb_cipher *cipher, struct rb_request *request,
			u64 block, struct rb_tag *tag, struct rb_span dst,
			struct rb_span src)
{
	int ret;

	tag->epoch = cpu_to_le32(cipher->epoch.epoch);
	tag->state = RB_TAG_DATA;
	tag->reserved = 0;
	memset(tag->tag, 0, sizeof(tag->tag));
	if (!request) {
		rb_span_copy(dst, src);
		return 0;
	}
	rb_request_name(cipher, request, block, tag);
	ret = rb_request_run(request, dst, src, true);
	if (ret) {
		rb_span_zero(dst);
		return ret;
	}
	memcpy(tag->tag, request->tag, sizeof(tag->tag));
	return 0;
}

static int rb_open_span(struct rb_cipher *cipher, struct rb_request *request,
			u64 block, const struct rb_tag *tag,
			struct rb_span dst, struct rb_span src)
{
	int ret;

	if (!request) {
		rb_span_copy(dst, src);
		return 0;
	}
	rb_request_name(cipher, request, block, tag);
	memcpy(request->tag, tag->tag, sizeof(request->tag));
	ret = rb_request_run(request, dst, src, false);
	if (ret == -EBADMSG && rb_fault_skip_tag_check(cipher))
		return 0;
	if (ret)
		rb_span_zero(dst);
	return ret;
}

int rb_seal(struct rb_cipher *cipher, u64 block, struct rb_tag *tag,
	    struct page *dst, struct page *src)
{
	struct rb_request *request = NULL;
	int ret;

	if (cipher->aead)
		request = rb_request_get(cipher);
	ret = rb_seal_span(cipher, request, block, tag,
			   (struct rb_span){ .page = dst },
			   (struct rb_span){ .page = src });
	if (request)
		rb_request_put(cipher, request);
	return ret;
}

int rb_open(struct rb_cipher *cipher, u64 block, const struct rb_tag *tag,
	    struct page *dst, struct page *src)
{
	const struct rb_span to = { .page = dst }, from = { .page = src };
	struct rb_request *request = NULL;
	int ret;

	if (tag->state != RB_TAG_DATA ||
	    le32_to_cpu(tag->epoch) != cipher->epoch.epoch) {
		rb_span_zero(to);
		return tag->state == RB_TAG_DATA ? -ESTALE : -EBADMSG;
	}
	if (cipher->aead)
		request = rb_request_get(cipher);
	ret = rb_open_span(cipher, request, block, tag, to, from);
	if (request)
		rb_request_put(cipher, request);
	return ret;
}

/* ---- runs of blocks -------------------------------------------------- */

/* Where the next block of a bio is; false if it is scattered. */
static bool rb_bio_span(struct bio *bio, const struct bvec_iter *iter,
			struct rb_span *ret)
{
	struct bio_vec vec = bio_iter_iovec(bio, *iter);

	ret->page = vec.bv_page;
	ret->offset = vec.bv_offset;
	return vec.bv_len >= RB_BLOCK_BYTES;
}

/* Copy between a span and the next, scattered block of a bio. */
static void rb_bio_copy(struct bio *bio, struct bvec_iter iter,
			struct rb_span span, bool to_bio)
{
	unsigned int done, part;

	for (done = 0; done < RB_BLOCK_BYTES; done += part) {
		struct bio_vec vec = bio_iter_iovec(bio, iter);

		part = min(vec.bv_len, RB_BLOCK_BYTES - done);
		if (to_bio)
			memcpy_page(vec.bv_page, vec.bv_offset, span.page,
				    span.offset + done, part);
		else
			memcpy_page(span.page, span.offset + done, vec.bv_page,
				    vec.bv_offset, part);
		bio_advance_iter(bio, &iter, part);
	}
}

static void rb_bio_zero(struct bio *bio, struct bvec_iter iter,
			unsigned int bytes)
{
	while (bytes) {
		struct bio_vec vec = bio_iter_iovec(bio, iter);
		unsigned int part = min(vec.bv_len, bytes);

		memzero_page(vec.bv_page, vec.bv_offset, part);
		bio_advance_iter(bio, &iter, part);
		bytes -= part;
	}
}

static int rb_seal_next(struct rb_cipher *cipher, struct rb_request *request,
			u64 block, struct rb_tag *tag, struct bio *dst,
			struct bvec_iter *to, struct bio *src,
			struct bvec_iter *from)
{
	struct rb_span in, out;

	if (!rb_bio_span(dst, to, &out))
		return -EINVAL;
	if (!rb_bio_span(src, from, &in)) {
		rb_bio_copy(src, *from, out, false);
		in = out;
	}
	bio_advance_iter(dst, to, RB_BLOCK_BYTES);
	bio_advance_iter(src, from, RB_BLOCK_BYTES);
	return rb_seal_span(cipher, request, block, tag, out, in);
}

int rb_seal_bio(struct rb_cipher *cipher, u64 block, u64 index,
		struct rb_tag *tags, struct bio *dst, struct bio *src)
{
	const unsigned int count = src->bi_iter.bi_size / RB_BLOCK_BYTES;
	struct bvec_iter to = dst->bi_iter, from = src->bi_iter;
	struct rb_request *request = NULL;
	unsigned int i;
	int ret = 0;

	if (count > RB_MAX_OP_BLOCKS ||
	    dst->bi_iter.bi_size != src->bi_iter.bi_size)
		ret = -EINVAL;
	else if (cipher->aead)
		request = rb_request_get(cipher);
	for (i = 0; i < count && !ret; i++) {
		tags[i].index = cpu_to_le64(index);
		tags[i].page = cpu_to_le16(i);
		ret = rb_seal_next(cipher, request, block + i, &tags[i], dst,
				   &to, src, &from);
	}
	if (request)
		rb_request_put(cipher, request);
	if (ret)
		rb_bio_zero(dst, dst->bi_iter, dst->bi_iter.bi_size);
	return ret;
}

/* The cipher of the last block opened: the next one is likely to share it. */
struct rb_opener {
	struct rb_keys *keys;
	struct rb_cipher *cipher;
	struct rb_request *request;
};

static void rb_opener_drop(struct rb_opener *opener)
{
	if (opener->request)
		rb_request_put(opener->cipher, opener->request);
	rb_cipher_put(opener->cipher);
	opener->request = NULL;
	opener->cipher = NULL;
}

static bool rb_opener_take(struct rb_opener *opener, u32 epoch)
{
	if (opener->cipher && opener->cipher->epoch.epoch == epoch)
		return true;
	rb_opener_drop(opener);
	opener->cipher = rb_cipher_get(opener->keys, epoch);
	if (opener->cipher && opener->cipher->aead)
		opener->request = rb_request_get(opener->cipher);
	return opener->cipher;
}

static int rb_opener_open(struct rb_opener *opener, u64 block,
			  const struct rb_tag *tag, struct rb_span dst,
			  struct rb_span src)
{
	if (!rb_opener_take(opener, le32_to_cpu(tag->epoch)))
		return -ENOKEY;
	return rb_open_span(opener->cipher, opener->request, block, tag, dst,
			    src);
}

/* Open the next block of @src into the next of @dst, or zero that. */
static int rb_open_next(struct rb_opener *opener, u64 block,
			const struct rb_tag *tag, struct bio *dst,
			const struct bvec_iter *to, struct bio *src,
			const struct bvec_iter *from)
{
	struct rb_span in, out;
	bool whole;
	int ret;

	if (tag->state == RB_TAG_EMPTY) {
		rb_bio_zero(dst, *to, RB_BLOCK_BYTES);
		return 0;
	}
	whole = rb_bio_span(dst, to, &out);
	ret = rb_bio_span(src, from, &in) ? 0 : -EINVAL;
	if (!ret)
		ret = rb_opener_open(opener, block, tag, whole ? out : in, in);
	if (ret)
		rb_bio_zero(dst, *to, RB_BLOCK_BYTES);
	else if (!whole)
		rb_bio_copy(dst, *to, in, true);
	return ret;
}

unsigned int rb_open_bio(struct rb_keys *keys, u64 block,
			 const struct rb_tag *tags, unsigned long *bad,
			 struct bio *dst, struct bio *src)
{
	const unsigned int count = dst->bi_iter.bi_size / RB_BLOCK_BYTES;
	struct bvec_iter to = dst->bi_iter, from = src->bi_iter;
	struct rb_opener opener = { .keys = keys };
	unsigned int i, nr_bad = 0;

	for (i = 0; i < count; i++) {
		int ret = rb_open_next(&opener, block + i, &tags[i], dst, &to,
				       src, &from);

		nr_bad += !!ret;
		__assign_bit(i, bad, ret);
		bio_advance_iter(dst, &to, RB_BLOCK_BYTES);
		bio_advance_iter(src, &from, RB_BLOCK_BYTES);
	}
	rb_opener_drop(&opener);
	return nr_bad;
}

unsigned int rb_verify_bio(struct rb_keys *keys, u64 block,
			   const struct rb_tag *tags, unsigned long *bad,
			   struct bio *src)
{
	const unsigned int count = src->bi_iter.bi_size / RB_BLOCK_BYTES;
	struct page *scratch = mempool_alloc(&keys->pages, GFP_NOIO);
	struct rb_span out = { .page = scratch };
	struct rb_opener opener = { .keys = keys };
	struct bvec_iter from = src->bi_iter;
	unsigned int i, nr_bad = 0;

	for (i = 0; i < count; i++) {
		struct rb_span in;
		int ret;

		ret = rb_bio_span(src, &from, &in) ? 0 : -EINVAL;
		/* Without a key there is nothing to verify but the epoch. */
		if (!ret && !keys->kdf)
			out = in;
		if (!ret && tags[i].state == RB_TAG_DATA)
			ret = rb_opener_open(&opener, block + i, &tags[i], out,
					     in);
		nr_bad += !!ret;
		__assign_bit(i, bad, ret);
		bio_advance_iter(src, &from, RB_BLOCK_BYTES);
	}
	rb_opener_drop(&opener);
	mempool_free(scratch, &keys->pages);
	return nr_bad;
}
