// SPDX-License-Identifier: GPL-2.0-only
/*
 * What sealing and authentication cost here, by implementation: which modules
 * a machine should load, and which MAC the messages should have.
 */
#include <linux/bio.h>
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <crypto/aead.h>
#include <crypto/hash.h>

#include "dm-rollbaccine-crypto.h"
#include "selftest.h"

#define RB_SPEED_NS (200 * NSEC_PER_MSEC)
#define RB_SPEED_MAX 4096u

/* How often @run(@arg) is done in a fixed time, as microseconds for each. */
static int rb_speed_of(int (*run)(void *arg), void *arg, u64 *ns)
{
	u64 begin, now;
	unsigned int count = 0;
	int ret;

	ret = run(arg); /* warm */
	begin = ktime_get_ns();
	do {
		ret = ret ?: run(arg);
		count++;
		now = ktime_get_ns();
	} while (!ret && now - begin < RB_SPEED_NS);
	*ns = (now - begin) / count;
	return ret;
}

static void rb_speed_print(const char *what, const char *driver,
			   unsigned int bytes, u64 ns)
{
	pr_info(RB_SELFTEST "%s of %u bytes, %s: %llu.%03llu us, %llu kB/s\n",
		what, bytes, driver, ns / 1000, ns % 1000,
		(u64)bytes * 1000000 / max(ns, 1ull));
}

/* ---- AEAD as such ---------------------------------------------------- */

struct rb_speed_aead {
	struct aead_request *request;
	struct crypto_wait wait;
	struct scatterlist sg[2];
	u8 iv[16];
	u8 *buffer; /* data and a tag */
};

static int rb_speed_seal(void *arg)
{
	struct rb_speed_aead *s = arg;

	return crypto_wait_req(crypto_aead_encrypt(s->request), &s->wait);
}

/* With @aad bytes to be authenticated only, and @len to be encrypted. */
static int rb_speed_aead_run(struct crypto_aead *tfm, struct rb_speed_aead *s,
			     unsigned int aad, unsigned int len)
{
	static const u8 key[32] = { 1 };
	u64 ns;
	int ret;

	ret = crypto_aead_setkey(tfm, key, sizeof(key));
	if (!ret)
		ret = crypto_aead_setauthsize(tfm, RB_GCM_TAG_BYTES);
	if (ret)
		return ret;
	crypto_init_wait(&s->wait);
	sg_init_one(s->sg, s->buffer, aad + len + RB_GCM_TAG_BYTES);
	aead_request_set_callback(s->request, CRYPTO_TFM_REQ_MAY_BACKLOG,
				  crypto_req_done, &s->wait);
	aead_request_set_ad(s->request, aad);
	aead_request_set_crypt(s->request, s->sg, s->sg, len, s->iv);
	ret = rb_speed_of(rb_speed_seal, s, &ns);
	if (!ret)
		rb_speed_print(len ? "GCM" : "GMAC",
			       crypto_aead_alg(tfm)->base.cra_driver_name,
			       aad + len, ns);
	return ret;
}

static int rb_speed_aead(const char *name)
{
	struct crypto_aead *tfm = crypto_alloc_aead(name, 0, 0);
	struct rb_speed_aead s = {};
	int ret = -ENOMEM;

	if (IS_ERR(tfm)) {
		pr_info(RB_SELFTEST "%s: not here (%ld)\n", name, PTR_ERR(tfm));
		return 0;
	}
	s.request = aead_request_alloc(tfm, GFP_KERNEL);
	s.buffer = kzalloc(RB_SPEED_MAX + 32, GFP_KERNEL);
	if (s.request && s.buffer)
		ret = rb_speed_aead_run(tfm, &s, 0, RB_SPEED_MAX);
	if (!ret)
		ret = rb_speed_aead_run(tfm, &s, 64, 0);
	if (!ret)
		ret = rb_speed_aead_run(tfm, &s, RB_SPEED_MAX, 0);
	kfree(s.buffer);
	if (s.request)
		aead_request_free(s.request);
	crypto_free_aead(tfm);
	return ret;
}

/* ---- hashes as such -------------------------------------------------- */

struct rb_speed_hash {
	struct crypto_shash *tfm;
	u8 *buffer;
	unsigned int len;
};

static int rb_speed_digest(void *arg)
{
	struct rb_speed_hash *s = arg;
	u8 digest[32];

	return crypto_shash_tfm_digest(s->tfm, s->buffer, s->len, digest);
}

static int rb_speed_hash(const char *name, bool keyed)
{
	static const unsigned int lens[] = { 64, RB_SPEED_MAX };
	static const u8 key[32] = { 1 };
	struct rb_speed_hash s = { .tfm = crypto_alloc_shash(name, 0, 0) };
	unsigned int i;
	int ret = 0;
	u64 ns;

	if (IS_ERR(s.tfm)) {
		pr_info(RB_SELFTEST "%s: not here (%ld)\n", name,
			PTR_ERR(s.tfm));
		return 0;
	}
	s.buffer = kzalloc(RB_SPEED_MAX, GFP_KERNEL);
	if (!s.buffer)
		ret = -ENOMEM;
	if (keyed && !ret)
		ret = crypto_shash_setkey(s.tfm, key, sizeof(key));
	for (i = 0; i < ARRAY_SIZE(lens) && !ret; i++) {
		s.len = lens[i];
		ret = rb_speed_of(rb_speed_digest, &s, &ns);
		if (!ret)
			rb_speed_print("hash",
				       crypto_shash_alg(s.tfm)->base.cra_driver_name,
				       s.len, ns);
	}
	kfree(s.buffer);
	crypto_free_shash(s.tfm);
	return ret;
}

/* ---- the way the target does it -------------------------------------- */

#define RB_SPEED_BLOCKS 16

struct rb_speed_path {
	struct rb_keys *keys;
	struct rb_cipher *cipher;
	struct bio src;
	struct bio dst;
	struct bio_vec vecs[2][RB_SPEED_BLOCKS];
	struct rb_tag tags[RB_SPEED_BLOCKS];
	unsigned long bad;
};

static int rb_speed_path_seal(void *arg)
{
	struct rb_speed_path *p = arg;

	return rb_seal_bio(p->cipher, 0, 1, p->tags, &p->dst, &p->src);
}

static int rb_speed_path_open(void *arg)
{
	struct rb_speed_path *p = arg;

	return rb_open_bio(p->keys, 0, p->tags, &p->bad, &p->src, &p->dst) ?
	       -EBADMSG : 0;
}

static int rb_speed_path_verify(void *arg)
{
	struct rb_speed_path *p = arg;

	return rb_verify_bio(p->keys, 0, p->tags, &p->bad, &p->dst) ?
	       -EBADMSG : 0;
}

static int rb_speed_path_run(struct rb_speed_path *p, u8 *pages,
			     unsigned int blocks)
{
	static const struct {
		const char *name;
		int (*run)(void *arg);
	} what[] = {
		{ "rb_seal_bio", rb_speed_path_seal },
		{ "rb_open_bio", rb_speed_path_open },
		{ "rb_verify_bio", rb_speed_path_verify },
	};
	const char *mode = rb_keys_encrypted(p->keys) ? "key" : "no key";
	unsigned int i;
	int ret = 0;
	u64 ns;

	bio_init(&p->src, NULL, p->vecs[0], RB_SPEED_BLOCKS, REQ_OP_WRITE);
	bio_init(&p->dst, NULL, p->vecs[1], RB_SPEED_BLOCKS, REQ_OP_WRITE);
	for (i = 0; i < blocks; i++) {
		__bio_add_page(&p->src,
			       virt_to_page(pages + i * RB_BLOCK_BYTES),
			       RB_BLOCK_BYTES, 0);
		__bio_add_page(&p->dst,
			       virt_to_page(pages + (RB_SPEED_BLOCKS + i) *
						    RB_BLOCK_BYTES),
			       RB_BLOCK_BYTES, 0);
	}
	for (i = 0; i < ARRAY_SIZE(what) && !ret; i++) {
		ret = rb_speed_of(what[i].run, p, &ns);
		if (!ret)
			rb_speed_print(what[i].name, mode,
				       blocks * RB_BLOCK_BYTES, ns);
	}
	return ret;
}

static int rb_speed_path(bool encrypted)
{
	static const u8 master[32] = { 1 };
	const struct rb_epoch epoch = { .epoch = 1, .leader = 1 };
	struct rb_speed_path *p = kzalloc(sizeof(*p), GFP_KERNEL);
	u8 *pages = kzalloc(2 * RB_SPEED_BLOCKS * RB_BLOCK_BYTES, GFP_KERNEL);
	struct rb_keys *keys;
	int ret = -ENOMEM;

	keys = rb_keys_create(encrypted ? master : NULL, sizeof(master));
	if (p && pages && !IS_ERR(keys)) {
		p->keys = keys;
		ret = rb_keys_add_epoch(keys, master, &epoch);
	}
	if (!ret) {
		p->cipher = rb_cipher_get(keys, 1);
		ret = rb_speed_path_run(p, pages, 1);
		if (!ret)
			ret = rb_speed_path_run(p, pages, RB_SPEED_BLOCKS);
		rb_cipher_put(p->cipher);
	}
	if (!IS_ERR(keys))
		rb_keys_destroy(keys);
	kfree(pages);
	kfree(p);
	return ret;
}

int rb_selftest_speed(void)
{
	static const char *const aeads[] = {
		"gcm(aes)",
		"generic-gcm-aesni",
		"gcm_base(ctr(aes-generic),ghash-generic)",
		"gcm_base(ctr(aes-aesni),ghash-generic)",
		"gcm_base(ctr-aes-aesni,ghash-generic)",
		"gcm_base(ctr-aes-aesni,ghash-clmulni)",
	};
	static const char *const hashes[] = {
		"hmac(sha256)", "hmac(sha256-generic)", "hmac(sha256-ssse3)",
		"hmac(sha256-avx2)", "hmac(sha256-ni)",
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(aeads) && !ret; i++)
		ret = rb_speed_aead(aeads[i]);
	for (i = 0; i < ARRAY_SIZE(hashes) && !ret; i++)
		ret = rb_speed_hash(hashes[i], true);
	if (!ret)
		ret = rb_speed_hash("crc32c", false);
	if (!ret)
		ret = rb_speed_path(true);
	if (!ret)
		ret = rb_speed_path(false);
	return ret;
}
