// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys, the ciphers made of them, and MACs, by the kernel's crypto API.
 */
#include <linux/err.h>
#include <linux/key.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <crypto/hash.h>
#include <crypto/kdf_sp800108.h>
#include <crypto/sha2.h>

#include <keys/user-type.h>

#include "dm-rollbaccine-cipher.h"

#define RB_CIPHER_NAME "gcm(aes)"
#define RB_HMAC_NAME "hmac(sha256)"
#define RB_CHECKSUM_NAME "crc32c"
#define RB_KEY_BYTES 32
/* Requests and pages that memory pressure cannot take from us. */
#define RB_CRYPTO_RESERVE 2

struct rb_mac {
	struct crypto_shash *tfm;
	unsigned int bytes; /* of a result */
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
#endif
