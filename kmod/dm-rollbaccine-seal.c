// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sealing and opening of blocks, by the kernel's AES-GCM.
 *
 * The best gcm(aes) of most processors is one that the API calls asynchronous
 * although it almost always answers at once; so every call can wait.
 */
#include <linux/bio.h>
#include <linux/highmem.h>
#include <linux/sched/mm.h>

#include "dm-rollbaccine-cipher.h"

/* ---- seeded defects -------------------------------------------------- */

#ifdef CONFIG_DM_ROLLBACCINE_FAULTS
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
	struct rb_span out = {};
	struct rb_opener opener = { .keys = keys };
	struct bvec_iter from = src->bi_iter;
	unsigned int i, nr_bad = 0;

	if (keys->kdf)
		out.page = mempool_alloc(&keys->pages, GFP_NOIO);
	for (i = 0; i < count; i++) {
		struct rb_span in;
		int ret;

		ret = rb_bio_span(src, &from, &in) ? 0 : -EINVAL;
		/* Without a key there is nothing to verify but the epoch. */
		if (!keys->kdf)
			out = in;
		if (!ret && tags[i].state == RB_TAG_DATA)
			ret = rb_opener_open(&opener, block + i, &tags[i], out,
					     in);
		nr_bad += !!ret;
		__assign_bit(i, bad, ret);
		bio_advance_iter(src, &from, RB_BLOCK_BYTES);
	}
	rb_opener_drop(&opener);
	if (keys->kdf)
		mempool_free(out.page, &keys->pages);
	return nr_bad;
}
