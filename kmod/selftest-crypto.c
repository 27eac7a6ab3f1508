// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of keys, sealing and opening.
 */
#include <linux/bio.h>
#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "dm-rollbaccine-crypto.h"
#include "selftest.h"

#define RB_TEST_EPOCH 7u
#define RB_TEST_BLOCK 0x0102030405ull
#define RB_TEST_INDEX 0x1122334455667788ull
#define RB_TEST_PAGE 0x99u
#define RB_TEST_PAGES 10

/* What every test of sealing has at hand. */
struct rb_crypto_test {
	struct rb_keys *keys;
	struct rb_cipher *cipher;
	struct page *page[RB_TEST_PAGES];
};

static void rb_test_count_up(u8 *bytes, unsigned int len, u8 first)
{
	unsigned int i;

	for (i = 0; i < len; i++)
		bytes[i] = first + i;
}

static void rb_test_pattern(struct page *page, unsigned int seed)
{
	u8 *bytes = page_address(page);
	unsigned int i;

	for (i = 0; i < RB_BLOCK_BYTES; i++)
		bytes[i] = i * 7 + (i >> 8) + seed;
}

static bool rb_test_is_pattern(struct page *page, unsigned int seed)
{
	const u8 *bytes = page_address(page);
	unsigned int i;

	for (i = 0; i < RB_BLOCK_BYTES; i++)
		if (bytes[i] != (u8)(i * 7 + (i >> 8) + seed))
			return false;
	return true;
}

static bool rb_test_is_zero(struct page *page)
{
	return !memchr_inv(page_address(page), 0, RB_BLOCK_BYTES);
}

static bool rb_test_same(struct page *a, struct page *b)
{
	return !memcmp(page_address(a), page_address(b), RB_BLOCK_BYTES);
}

static struct rb_keys *rb_test_keys(u8 first)
{
	u8 master[RB_MIN_KEY_BYTES];

	rb_test_count_up(master, sizeof(master), first);
	return rb_keys_create(master, sizeof(master));
}

static int rb_test_add(struct rb_keys *keys, u32 number, u8 cluster, u8 salt)
{
	struct rb_epoch epoch = { .epoch = number, .leader = 1 };
	u8 name[RB_CLUSTER_BYTES];

	rb_test_count_up(name, sizeof(name), cluster);
	rb_test_count_up(epoch.salt, sizeof(epoch.salt), salt);
	return rb_keys_add_epoch(keys, name, &epoch);
}

static int rb_test_setup(struct rb_crypto_test *t, bool encrypted)
{
	unsigned int i;
	int ret;

	memset(t, 0, sizeof(*t));
	t->keys = encrypted ? rb_test_keys(0) : rb_keys_create(NULL, 0);
	if (IS_ERR(t->keys)) {
		ret = PTR_ERR(t->keys);
		t->keys = NULL;
		return ret;
	}
	for (i = 0; i < RB_TEST_PAGES; i++) {
		t->page[i] = alloc_page(GFP_KERNEL);
		if (!t->page[i])
			return -ENOMEM;
	}
	ret = rb_test_add(t->keys, RB_TEST_EPOCH, 0xc0, 0x50);
	if (!ret)
		t->cipher = rb_cipher_get(t->keys, RB_TEST_EPOCH);
	return ret;
}

static void rb_test_teardown(struct rb_crypto_test *t)
{
	unsigned int i;

	rb_cipher_put(t->cipher);
	rb_keys_destroy(t->keys);
	for (i = 0; i < RB_TEST_PAGES; i++)
		if (t->page[i])
			__free_page(t->page[i]);
}

static struct rb_tag rb_test_tag(void)
{
	return (struct rb_tag){
		.index = cpu_to_le64(RB_TEST_INDEX),
		.page = cpu_to_le16(RB_TEST_PAGE),
	};
}

/* ---- known answers, computed by another implementation --------------- */

static int rb_test_known_seal(struct rb_crypto_test *t)
{
	static const u8 first[] = {
		0x96, 0xf2, 0xc8, 0x81, 0x7b, 0x0d, 0x2c, 0xcb,
		0xb5, 0x15, 0xc0, 0xad, 0xca, 0xa3, 0x7f, 0xad,
	};
	static const u8 gcm_tag[] = {
		0xd5, 0xf4, 0x01, 0x1f, 0x5a, 0xc6, 0xbb, 0x03,
		0x8a, 0x6f, 0x5d, 0x30, 0x0e, 0x62, 0x6a, 0x25,
	};
	static const u8 digest[] = {
		0x7e, 0x35, 0x64, 0x62, 0x97, 0xfc, 0xc7, 0x1a,
		0x07, 0x40, 0x3a, 0x78, 0x94, 0x25, 0xb7, 0x1a,
		0x07, 0x6b, 0x2f, 0xe4, 0x55, 0x97, 0x9d, 0x59,
		0x70, 0xf9, 0x4c, 0xe1, 0x5c, 0x1f, 0x40, 0xfa,
	};
	struct rb_tag tag = rb_test_tag();
	u8 *sealed = page_address(t->page[1]);
	struct kvec vec = { .iov_base = sealed, .iov_len = RB_BLOCK_BYTES };
	u8 hash[RB_HASH_BYTES];

	rb_test_pattern(t->page[0], 0);
	RB_EXPECT(!rb_seal(t->cipher, RB_TEST_BLOCK, &tag, t->page[1],
			   t->page[0]));
	rb_hash(&vec, 1, hash);
	RB_EXPECT(!memcmp(sealed, first, sizeof(first)));
	RB_EXPECT(!memcmp(tag.tag, gcm_tag, sizeof(gcm_tag)));
	RB_EXPECT(!memcmp(hash, digest, sizeof(digest)));
	RB_EXPECT(le32_to_cpu(tag.epoch) == RB_TEST_EPOCH);
	RB_EXPECT(tag.state == RB_TAG_DATA && !tag.reserved);
	return 0;
}

static int rb_test_known_macs(struct rb_crypto_test *t)
{
	static const u8 proof[RB_PROOF_BYTES] = {
		0x45, 0xb9, 0xd2, 0x97, 0x0b, 0x36, 0x80, 0x0f,
		0xb9, 0x6e, 0x41, 0x88, 0x42, 0xfa, 0x6b, 0xd0,
		0x7b, 0x4f, 0x15, 0x28, 0x88, 0x16, 0xca, 0x29,
		0x80, 0x59, 0x16, 0x90, 0xec, 0x72, 0x14, 0x76,
	};
	static const u8 session[RB_MAC_BYTES] = {
		0xc8, 0x96, 0xb2, 0xb3, 0x48, 0xa3, 0x7d, 0x77,
		0xbd, 0x16, 0xab, 0x17, 0x54, 0x8c, 0xdd, 0xd3,
	};
	char context[] = "context", begin[] = "abc";
	u8 end[40], result[RB_PROOF_BYTES];
	const struct kvec vec[] = {
		{ .iov_base = begin, .iov_len = 3 },
		{ .iov_base = end, .iov_len = sizeof(end) },
	};
	struct rb_mac *mac;
	int ret;

	rb_test_count_up(end, sizeof(end), 0);
	RB_EXPECT(!rb_mac_compute(rb_keys_auth(t->keys), 5, vec, 2, result));
	RB_EXPECT(!memcmp(result, proof, sizeof(proof)));
	mac = rb_mac_create(t->keys, RB_MAC_SESSION, context, 7);
	RB_EXPECT(!IS_ERR(mac));
	ret = rb_mac_compute(mac, 5, vec, 2, result);
	rb_mac_destroy(mac);
	RB_EXPECT(!ret && !memcmp(result, session, sizeof(session)));
	return 0;
}

/* ---- one block ------------------------------------------------------- */

static int rb_test_round_trip(struct rb_crypto_test *t)
{
	struct rb_tag tag = rb_test_tag();

	rb_test_pattern(t->page[0], 1);
	RB_EXPECT(!rb_seal(t->cipher, 5, &tag, t->page[1], t->page[0]));
	RB_EXPECT(rb_test_is_pattern(t->page[0], 1));
	RB_EXPECT(!rb_open(t->cipher, 5, &tag, t->page[2], t->page[1]));
	RB_EXPECT(rb_test_is_pattern(t->page[2], 1));
	/* In place the result is the same. */
	RB_EXPECT(!rb_seal(t->cipher, 5, &tag, t->page[0], t->page[0]));
	RB_EXPECT(rb_test_same(t->page[0], t->page[1]));
	RB_EXPECT(!rb_open(t->cipher, 5, &tag, t->page[0], t->page[0]));
	RB_EXPECT(rb_test_is_pattern(t->page[0], 1));
	return 0;
}

/* Opening what was sealed as page[1] has to fail and leave zeros. */
static int rb_test_refused(struct rb_crypto_test *t, u64 block,
			   const struct rb_tag *tag)
{
	rb_test_pattern(t->page[2], 9);
	RB_EXPECT(rb_open(t->cipher, block, tag, t->page[2], t->page[1]) ==
		  -EBADMSG);
	RB_EXPECT(rb_test_is_zero(t->page[2]));
	copy_highpage(t->page[3], t->page[1]);
	RB_EXPECT(rb_open(t->cipher, block, tag, t->page[3], t->page[3]) ==
		  -EBADMSG);
	RB_EXPECT(rb_test_is_zero(t->page[3]));
	return 0;
}

static int rb_test_flips(struct rb_crypto_test *t, const struct rb_tag *good)
{
	static const unsigned int at[] = { 0, 1, 15, 16, 2047, 4080, 4095 };
	u8 *sealed = page_address(t->page[1]);
	struct rb_tag tag;
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		sealed[at[i]] ^= 1 << (i % 8);
		ret = rb_test_refused(t, 5, good);
		sealed[at[i]] ^= 1 << (i % 8);
		if (ret)
			return ret;
	}
	for (i = 0; i < RB_GCM_TAG_BYTES * 8; i += 5) {
		tag = *good;
		tag.tag[i / 8] ^= 1 << (i % 8);
		ret = rb_test_refused(t, 5, &tag);
		if (ret)
			return ret;
	}
	return 0;
}

static int rb_test_reject(struct rb_crypto_test *t)
{
	struct rb_tag good = rb_test_tag(), tag;
	int ret;

	rb_test_pattern(t->page[0], 2);
	RB_EXPECT(!rb_seal(t->cipher, 5, &good, t->page[1], t->page[0]));
	RB_EXPECT(!rb_open(t->cipher, 5, &good, t->page[2], t->page[1]));
	ret = rb_test_flips(t, &good);
	if (ret)
		return ret;
	RB_EXPECT(!rb_test_refused(t, 6, &good));
	RB_EXPECT(!rb_test_refused(t, 5 | 1ull << 40, &good));
	tag = good;
	tag.index = cpu_to_le64(RB_TEST_INDEX + 1);
	RB_EXPECT(!rb_test_refused(t, 5, &tag));
	tag.index = cpu_to_le64(RB_TEST_INDEX ^ 1ull << 63);
	RB_EXPECT(!rb_test_refused(t, 5, &tag));
	tag = good;
	tag.page = cpu_to_le16(RB_TEST_PAGE ^ 1);
	RB_EXPECT(!rb_test_refused(t, 5, &tag));
	tag = good;
	tag.state = RB_TAG_EMPTY;
	RB_EXPECT(!rb_test_refused(t, 5, &tag));
	tag = good;
	tag.epoch = cpu_to_le32(RB_TEST_EPOCH + 1);
	RB_EXPECT(rb_open(t->cipher, 5, &tag, t->page[2], t->page[1]) ==
		  -ESTALE);
	RB_EXPECT(rb_test_is_zero(t->page[2]));
	return 0;
}

/* Seal page[0] as block 5 under another key and see the result differ. */
static int rb_test_differs(struct rb_crypto_test *t, struct rb_keys *keys,
			   u32 epoch, const struct rb_tag *good)
{
	struct rb_cipher *cipher = rb_cipher_get(keys, epoch);
	struct rb_tag tag = rb_test_tag();
	int opened, ret;

	RB_EXPECT(cipher);
	ret = rb_seal(cipher, 5, &tag, t->page[2], t->page[0]);
	tag = *good;
	tag.epoch = cpu_to_le32(epoch);
	opened = rb_open(cipher, 5, &tag, t->page[3], t->page[1]);
	rb_cipher_put(cipher);
	RB_EXPECT(!ret);
	RB_EXPECT(!rb_test_same(t->page[1], t->page[2]));
	RB_EXPECT(opened == -EBADMSG && rb_test_is_zero(t->page[3]));
	return 0;
}

/* Master key, cluster, epoch and salt each make another key. */
static int rb_test_separation(struct rb_crypto_test *t)
{
	static const struct {
		u8 master, cluster, salt;
		u32 epoch;
	} others[] = {
		{ 1, 0xc0, 0x50, RB_TEST_EPOCH },
		{ 0, 0xc1, 0x50, RB_TEST_EPOCH },
		{ 0, 0xc0, 0x51, RB_TEST_EPOCH },
		{ 0, 0xc0, 0x50, RB_TEST_EPOCH + 1 },
	};
	struct rb_tag good = rb_test_tag();
	struct rb_keys *keys;
	unsigned int i;
	int ret;

	rb_test_pattern(t->page[0], 3);
	RB_EXPECT(!rb_seal(t->cipher, 5, &good, t->page[1], t->page[0]));
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		keys = rb_test_keys(others[i].master);
		RB_EXPECT(!IS_ERR(keys));
		ret = rb_test_add(keys, others[i].epoch, others[i].cluster,
				  others[i].salt);
		if (!ret)
			ret = rb_test_differs(t, keys, others[i].epoch, &good);
		rb_keys_destroy(keys);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * The key stream shows the nonce: sealing zeros gives it.  No two of (index,
 * page) may share one, and no stream may be another one moved by some blocks.
 */
static int rb_test_nonces(struct rb_crypto_test *t)
{
	static const struct {
		u64 index;
		u16 page;
	} versions[] = {
		{ 1, 0 }, { 1, 1 }, { 2, 0 }, { 1ull << 16, 0 },
		{ 1ull << 32, 1 }, { 1ull << 48, 0 }, { 1, 255 }, { 256, 0 },
	};
	unsigned int i, j, k;

	BUILD_BUG_ON(ARRAY_SIZE(versions) >= RB_TEST_PAGES);
	for (i = 0; i < ARRAY_SIZE(versions); i++) {
		struct rb_tag tag = {
			.index = cpu_to_le64(versions[i].index),
			.page = cpu_to_le16(versions[i].page),
		};

		clear_highpage(t->page[i]);
		RB_EXPECT(!rb_seal(t->cipher, 5, &tag, t->page[i], t->page[i]));
	}
	for (i = 0; i < ARRAY_SIZE(versions); i++)
		for (j = 0; j < ARRAY_SIZE(versions); j++)
			for (k = 0; k < RB_BLOCK_BYTES; k += 16)
				RB_EXPECT((i == j && !k) ||
					  memcmp(page_address(t->page[i]),
						 page_address(t->page[j]) + k,
						 16));
	return 0;
}

/* ---- bios ------------------------------------------------------------ */

#define RB_TEST_BLOCKS 4

struct rb_test_bio {
	struct bio bio;
	struct bio_vec vecs[RB_TEST_PAGES];
};

static void rb_test_bio_init(struct rb_test_bio *b)
{
	bio_init(&b->bio, NULL, b->vecs, RB_TEST_PAGES, REQ_OP_WRITE);
}

/* RB_TEST_BLOCKS whole pages from page[first] on. */
static void rb_test_bio_whole(struct rb_test_bio *b, struct rb_crypto_test *t,
			      unsigned int first)
{
	unsigned int i;

	rb_test_bio_init(b);
	for (i = 0; i < RB_TEST_BLOCKS; i++)
		__bio_add_page(&b->bio, t->page[first + i], RB_BLOCK_BYTES, 0);
}

/* As many bytes, every block in two pieces or three. */
static void rb_test_bio_scattered(struct rb_test_bio *b,
				  struct rb_crypto_test *t, unsigned int first)
{
	rb_test_bio_init(b);
	__bio_add_page(&b->bio, t->page[first], 512, 3584);
	__bio_add_page(&b->bio, t->page[first + 1], 4096, 0);
	__bio_add_page(&b->bio, t->page[first + 2], 1024, 512);
	__bio_add_page(&b->bio, t->page[first + 2], 2048, 2048);
	__bio_add_page(&b->bio, t->page[first + 3], 4096, 0);
	__bio_add_page(&b->bio, t->page[first], 3072, 0);
	__bio_add_page(&b->bio, t->page[first + 4], 1536, 0);
}

static void rb_test_bio_fill(struct bio *bio, unsigned int seed)
{
	struct bvec_iter iter;
	struct bio_vec vec;
	unsigned int i, at = 0;

	bio_for_each_segment(vec, bio, iter)
		for (i = 0; i < vec.bv_len; i++, at++)
			((u8 *)page_address(vec.bv_page))[vec.bv_offset + i] =
				at * 3 + (at >> 8) + seed;
}

/* Whether block number @block is what rb_test_bio_fill() made, or zeros. */
static bool rb_test_bio_is(struct bio *bio, unsigned int block, bool zero,
			   unsigned int seed)
{
	struct bvec_iter iter;
	struct bio_vec vec;
	unsigned int i, at = 0;

	bio_for_each_segment(vec, bio, iter) {
		const u8 *bytes = page_address(vec.bv_page) + vec.bv_offset;

		for (i = 0; i < vec.bv_len; i++, at++)
			if (at / RB_BLOCK_BYTES == block &&
			    bytes[i] != (zero ? 0 :
					 (u8)(at * 3 + (at >> 8) + seed)))
				return false;
	}
	return true;
}

struct rb_bio_test {
	struct rb_test_bio user; /* pages 0 to 4 */
	struct rb_test_bio ours; /* pages 5 to 8 */
	struct rb_tag tags[RB_TEST_BLOCKS];
	unsigned long bad;
};

static int rb_test_bio_round_trip(struct rb_crypto_test *t,
				  struct rb_bio_test *b)
{
	struct rb_keys *keys = t->keys;
	unsigned int i;

	rb_test_bio_fill(&b->user.bio, 1);
	RB_EXPECT(!rb_seal_bio(t->cipher, 100, 77, b->tags, &b->ours.bio,
			       &b->user.bio));
	for (i = 0; i < RB_TEST_BLOCKS; i++) {
		RB_EXPECT(rb_test_bio_is(&b->user.bio, i, false, 1));
		RB_EXPECT(rb_test_bio_is(&b->ours.bio, i, false, 1) ==
			  !rb_keys_encrypted(keys));
		RB_EXPECT(le64_to_cpu(b->tags[i].index) == 77);
		RB_EXPECT(le16_to_cpu(b->tags[i].page) == i);
		RB_EXPECT(!rb_tag_check(&b->tags[i], RB_TEST_EPOCH));
	}
	b->bad = ~0ul;
	RB_EXPECT(!rb_verify_bio(keys, 100, b->tags, &b->bad, &b->ours.bio));
	RB_EXPECT(b->bad == ~0ul << RB_TEST_BLOCKS);
	rb_test_bio_fill(&b->user.bio, 50);
	RB_EXPECT(!rb_open_bio(keys, 100, b->tags, &b->bad, &b->user.bio,
			       &b->ours.bio));
	for (i = 0; i < RB_TEST_BLOCKS; i++)
		RB_EXPECT(rb_test_bio_is(&b->user.bio, i, false, 1));
	RB_EXPECT(b->user.bio.bi_iter.bi_size ==
		  RB_TEST_BLOCKS * RB_BLOCK_BYTES);
	return 0;
}

/* Block 1 is altered, block 2 is empty, block 3 of an unknown epoch. */
static int rb_test_bio_partly_bad(struct rb_crypto_test *t,
				  struct rb_bio_test *b)
{
	rb_test_bio_fill(&b->user.bio, 2);
	RB_EXPECT(!rb_seal_bio(t->cipher, 100, 78, b->tags, &b->ours.bio,
			       &b->user.bio));
	((u8 *)page_address(t->page[6]))[3000] ^= 0x10;
	b->tags[2] = (struct rb_tag){ .state = RB_TAG_EMPTY };
	b->tags[3].epoch = cpu_to_le32(RB_TEST_EPOCH + 5);
	b->bad = 0;
	RB_EXPECT(rb_verify_bio(t->keys, 100, b->tags, &b->bad,
				&b->ours.bio) == 2);
	RB_EXPECT(b->bad == (1 << 1 | 1 << 3));
	rb_test_bio_fill(&b->user.bio, 50);
	b->bad = 1;
	RB_EXPECT(rb_open_bio(t->keys, 100, b->tags, &b->bad, &b->user.bio,
			      &b->ours.bio) == 2);
	RB_EXPECT(b->bad == (1 << 1 | 1 << 3));
	RB_EXPECT(rb_test_bio_is(&b->user.bio, 0, false, 2));
	RB_EXPECT(rb_test_bio_is(&b->user.bio, 1, true, 0));
	RB_EXPECT(rb_test_bio_is(&b->user.bio, 2, true, 0));
	RB_EXPECT(rb_test_bio_is(&b->user.bio, 3, true, 0));
	return 0;
}

static int rb_test_bios(struct rb_crypto_test *t)
{
	struct rb_bio_test *b = kzalloc(sizeof(*b), GFP_KERNEL);
	unsigned int scattered;
	int ret = b ? 0 : -ENOMEM;

	for (scattered = 0; scattered < 2 && !ret; scattered++) {
		if (scattered)
			rb_test_bio_scattered(&b->user, t, 0);
		else
			rb_test_bio_whole(&b->user, t, 0);
		rb_test_bio_whole(&b->ours, t, 5);
		ret = rb_test_bio_round_trip(t, b);
		if (!ret && rb_keys_encrypted(t->keys))
			ret = rb_test_bio_partly_bad(t, b);
	}
	kfree(b);
	return ret;
}

/* ---- epochs ---------------------------------------------------------- */

static int rb_test_epochs(struct rb_crypto_test *t)
{
	struct rb_tag tag = rb_test_tag();
	struct rb_epoch list[4];

	RB_EXPECT(rb_test_add(t->keys, 0, 0xc0, 0) == -EINVAL);
	RB_EXPECT(!rb_test_add(t->keys, RB_TEST_EPOCH, 0xc0, 0x50));
	RB_EXPECT(rb_test_add(t->keys, RB_TEST_EPOCH, 0xc0, 0x51) == -EEXIST);
	RB_EXPECT(rb_test_add(t->keys, RB_TEST_EPOCH, 0xc1, 0x50) == -EEXIST);
	RB_EXPECT(!rb_test_add(t->keys, 9, 0xc0, 1));
	RB_EXPECT(!rb_test_add(t->keys, 2, 0xc0, 2));
	RB_EXPECT(rb_keys_epochs(t->keys, 0, list, 4) == 3);
	RB_EXPECT(list[0].epoch == 2 && list[1].epoch == 7 &&
		  list[2].epoch == 9 && list[2].salt[0] == 1);
	RB_EXPECT(rb_keys_epochs(t->keys, 3, list, 1) == 1);
	RB_EXPECT(list[0].epoch == 7);
	/* Forgotten, but whoever has a reference goes on. */
	rb_keys_forget_epoch(t->keys, RB_TEST_EPOCH);
	rb_keys_forget_epoch(t->keys, 1000);
	RB_EXPECT(!rb_cipher_get(t->keys, RB_TEST_EPOCH));
	RB_EXPECT(rb_cipher_epoch(t->cipher) == RB_TEST_EPOCH);
	rb_test_pattern(t->page[0], 4);
	RB_EXPECT(!rb_seal(t->cipher, 1, &tag, t->page[0], t->page[0]));
	RB_EXPECT(!rb_open(t->cipher, 1, &tag, t->page[0], t->page[0]));
	RB_EXPECT(rb_test_is_pattern(t->page[0], 4));
	rb_cipher_put(t->cipher);
	/* The same leadership again is the same key again. */
	RB_EXPECT(!rb_test_add(t->keys, RB_TEST_EPOCH, 0xc0, 0x50));
	t->cipher = rb_cipher_get(t->keys, RB_TEST_EPOCH);
	RB_EXPECT(!rb_seal(t->cipher, 1, &tag, t->page[1], t->page[0]));
	RB_EXPECT(!rb_open(t->cipher, 1, &tag, t->page[1], t->page[1]));
	RB_EXPECT(rb_test_is_pattern(t->page[1], 4));
	return 0;
}

/* Without a key, where a cipher costs nothing: there is a bound. */
static int rb_test_epochs_bound(struct rb_crypto_test *t)
{
	unsigned int i;

	for (i = 1; i <= RB_MAX_EPOCHS; i++)
		RB_EXPECT(!rb_test_add(t->keys, i + (i >= RB_TEST_EPOCH), 0xc0,
				       1) || i == RB_MAX_EPOCHS);
	RB_EXPECT(rb_test_add(t->keys, 1u << 30, 0xc0, 1) == -ENOSPC);
	rb_keys_forget_epoch(t->keys, 3);
	RB_EXPECT(!rb_test_add(t->keys, 1u << 30, 0xc0, 1));
	rb_keys_forget_all(t->keys);
	RB_EXPECT(!rb_test_add(t->keys, RB_TEST_EPOCH, 0xc0, 1));
	return 0;
}

static int rb_test_no_key(struct rb_crypto_test *t)
{
	struct rb_tag tag = rb_test_tag();

	RB_EXPECT(!rb_keys_encrypted(t->keys));
	rb_test_pattern(t->page[0], 5);
	RB_EXPECT(!rb_seal(t->cipher, 5, &tag, t->page[1], t->page[0]));
	RB_EXPECT(rb_test_is_pattern(t->page[1], 5));
	RB_EXPECT(!memchr_inv(tag.tag, 0, sizeof(tag.tag)));
	RB_EXPECT(!rb_open(t->cipher, 5, &tag, t->page[2], t->page[1]));
	RB_EXPECT(rb_test_is_pattern(t->page[2], 5));
	return 0;
}

static int rb_test_specs(struct rb_crypto_test *t)
{
	static const char *const bad[] = { "", "logon", "logon:", "user:a:b",
					   "-x", "0123456789abcdef" };
	u8 master[RB_MIN_KEY_BYTES] = {};
	struct rb_keys *keys;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		RB_EXPECT(rb_keys_load(bad[i]) == ERR_PTR(-EINVAL));
	RB_EXPECT(IS_ERR(rb_keys_load("logon:rollbaccine:no such key")));
	RB_EXPECT(rb_keys_create(master, RB_MIN_KEY_BYTES - 1) ==
		  ERR_PTR(-EKEYREJECTED));
	keys = rb_keys_load("-");
	RB_EXPECT(!IS_ERR(keys));
	rb_keys_destroy(keys);
	return 0;
}

/* ---- many at once ---------------------------------------------------- */

#define RB_TEST_WORKERS 8
#define RB_TEST_ROUNDS 40

struct rb_test_worker {
	struct work_struct work;
	struct rb_crypto_test *t;
	unsigned int number;
	struct page *page;
	int ret;
};

static int rb_test_worker_round(struct rb_test_worker *w, unsigned int round)
{
	const u64 block = w->number * 1000 + round;
	struct rb_tag tag = {
		.index = cpu_to_le64(block + 1),
	};

	rb_test_pattern(w->page, block);
	RB_EXPECT(!rb_seal(w->t->cipher, block, &tag, w->page, w->page));
	RB_EXPECT(rb_open(w->t->cipher, block, &tag, w->page, w->page) == 0);
	RB_EXPECT(rb_test_is_pattern(w->page, block));
	return 0;
}

static void rb_test_worker_run(struct work_struct *work)
{
	struct rb_test_worker *w = container_of(work, struct rb_test_worker,
						work);
	unsigned int i;

	for (i = 0; i < RB_TEST_ROUNDS && !w->ret; i++)
		w->ret = rb_test_worker_round(w, i);
}

static int rb_test_concurrent(struct rb_crypto_test *t)
{
	struct rb_test_worker *workers;
	unsigned int i;
	int ret = 0;

	workers = kcalloc(RB_TEST_WORKERS, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		return -ENOMEM;
	for (i = 0; i < RB_TEST_WORKERS; i++) {
		workers[i].t = t;
		workers[i].number = i;
		workers[i].page = t->page[i];
		INIT_WORK(&workers[i].work, rb_test_worker_run);
		queue_work(system_unbound_wq, &workers[i].work);
	}
	for (i = 0; i < RB_TEST_WORKERS; i++) {
		flush_work(&workers[i].work);
		ret = ret ?: workers[i].ret;
	}
	kfree(workers);
	return ret;
}

static int rb_test_with(int (*run)(struct rb_crypto_test *t), bool encrypted)
{
	struct rb_crypto_test t;
	int ret;

	ret = rb_test_setup(&t, encrypted);
	if (!ret)
		ret = run(&t);
	rb_test_teardown(&t);
	return ret;
}

int rb_selftest_crypto(void)
{
	static const struct {
		int (*run)(struct rb_crypto_test *t);
		bool encrypted;
	} tests[] = {
		{ rb_test_known_seal, true },
		{ rb_test_known_macs, true },
		{ rb_test_round_trip, true },
		{ rb_test_reject, true },
		{ rb_test_separation, true },
		{ rb_test_nonces, true },
		{ rb_test_bios, true },
		{ rb_test_bios, false },
		{ rb_test_epochs, true },
		{ rb_test_epochs_bound, false },
		{ rb_test_no_key, false },
		{ rb_test_specs, false },
		{ rb_test_concurrent, true },
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(tests) && !ret; i++)
		ret = rb_test_with(tests[i].run, tests[i].encrypted);
	return ret;
}
