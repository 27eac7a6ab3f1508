// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single blocks from and for peers: how a resync fills what is missing and a
 * reader repairs what its own disk has lost.
 *
 * A block is asked for by number and tag.  Whoever is asked reads it from the
 * disk, makes sure that it is what the tag says, and sends the ciphertext.
 */
#include <linux/highmem.h>
#include <linux/slab.h>

#include "dm-rollbaccine.h"

static void rb_disk_bio(struct rb_device *rb, struct bio *bio,
			struct bio_vec *vec, u64 block, struct page *page,
			blk_opf_t opf)
{
	bio_init(bio, rb->store.bdev, vec, 1, opf | REQ_SYNC);
	bio->bi_iter.bi_sector = rb->store.start + block * RB_BLOCK_SECTORS;
	__bio_add_page(bio, page, RB_BLOCK_BYTES, 0);
}

/* Read or write one block of the local disk.  Process context. */
int rb_disk_rw(struct rb_device *rb, u64 block, struct page *page,
	       blk_opf_t opf)
{
	struct bio_vec vec;
	struct bio bio;
	int ret;

	rb_disk_bio(rb, &bio, &vec, block, page, opf);
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return ret;
}

/* Whether @page is what @tag says; it is left as it is. */
int rb_block_verify(struct rb_device *rb, u64 block, const struct rb_tag *tag,
		    struct page *page)
{
	DECLARE_BITMAP(bad, 1) = {};
	struct bio_vec vec;
	struct bio bio;
	int ret;

	if (!rb_tag_is_data(tag))
		return -EINVAL;
	rb_disk_bio(rb, &bio, &vec, block, page, REQ_OP_READ);
	ret = rb_verify_bio(rb->keys, block, tag, bad, &bio) ? -EBADMSG : 0;
	bio_uninit(&bio);
	return ret;
}

/* ---- for peers --------------------------------------------------------- */

struct rb_serve {
	struct work_struct work;
	struct rb_peer *peer;
	struct rb_letter *letter;
};

/* Read what is asked for.  Returns 0 if the page is it. */
static int rb_serve_read(struct rb_device *rb, u64 block,
			 const struct rb_tag *wanted, struct page *page)
{
	struct rb_waiting_slot slot;
	struct rb_tag tag;
	u64 bad;
	int ret;

	rb_slot_wait(&rb->store, &slot, block, 1, true);
	ret = rb_tags_pin(rb->tags, block, 1, RB_PIN_GET, &bad);
	if (!ret) {
		rb_tags_get(rb->tags, block, 1, &tag);
		rb_tags_unpin(rb->tags, block, 1, RB_PIN_GET);
		if (memcmp(&tag, wanted, sizeof(tag)) ||
		    rb_tags_test_missing(rb->tags, block, 1))
			ret = -ESTALE;
	}
	if (!ret)
		ret = rb_disk_rw(rb, block, page, REQ_OP_READ);
	if (!ret)
		ret = rb_block_verify(rb, block, &tag, page);
	rb_slot_release(&rb->store, &slot.slot);
	return ret;
}

static void rb_serve_work(struct work_struct *work)
{
	struct rb_serve *serve = container_of(work, struct rb_serve, work);
	struct rb_letter *letter = serve->letter;
	struct rb_peer *peer = serve->peer;
	struct rb_device *rb = peer->rb;
	unsigned int patience = RB_TICKS;
	int ret;

	ret = rb_serve_read(rb, letter->block.block, &letter->block.tag,
			    letter->page);
	if (ret == -EBADMSG && rb_is_primary(rb))
		/* Our own disk is at fault; another peer may have it. */
		ret = rb_fetch_wait(rb, letter->block.block,
				    &letter->block.tag, letter->page,
				    &patience);
	if (ret) {
		letter->block.refused = true;
		__free_page(letter->page);
		letter->page = NULL;
	}
	rb_peer_post(peer, letter);
	spin_lock_irq(&rb->lock);
	peer->serving--;
	spin_unlock_irq(&rb->lock);
	kfree(serve);
}

static int rb_block_serve(struct rb_peer *peer,
			  const struct rb_block_message *message)
{
	struct rb_device *rb = peer->rb;
	struct rb_letter *letter;
	struct rb_serve *serve;

	if (READ_ONCE(peer->serving) >= RB_MAX_SERVING)
		return -EBADMSG;
	serve = kzalloc(sizeof(*serve), GFP_NOIO);
	letter = kzalloc(sizeof(*letter), GFP_NOIO);
	if (letter)
		letter->page = alloc_page(GFP_NOIO);
	if (!serve || !letter || !letter->page) {
		kfree(letter);
		kfree(serve);
		return -ENOMEM;
	}
	letter->type = RB_WIRE_BLOCK_DATA;
	letter->block = *message;
	serve->peer = peer;
	serve->letter = letter;
	spin_lock_irq(&rb->lock);
	peer->serving++;
	spin_unlock_irq(&rb->lock);
	INIT_WORK(&serve->work, rb_serve_work);
	queue_work(rb->store.slow_wq, &serve->work);
	return 0;
}

/* ---- from peers -------------------------------------------------------- */

/* Take it off the list, if it is still there.  Lock held. */
static bool rb_fetch_claim(struct rb_fetch *fetch)
{
	if (list_empty(&fetch->list))
		return false;
	list_del_init(&fetch->list);
	return true;
}

/* Ask; fetch->done will be called, whatever happens. */
void rb_fetch_ask(struct rb_device *rb, struct rb_peer *peer,
		  struct rb_fetch *fetch)
{
	struct rb_letter *letter = kzalloc(sizeof(*letter), GFP_NOIO);
	bool asked = false;

	fetch->ticks = 0;
	fetch->error = letter ? -ENOTCONN : -ENOMEM;
	spin_lock_irq(&rb->lock);
	if (letter && peer->up) {
		list_add_tail(&fetch->list, &peer->fetches);
		asked = true;
	}
	spin_unlock_irq(&rb->lock);
	if (!asked) {
		kfree(letter);
		fetch->done(fetch);
		return;
	}
	letter->type = RB_WIRE_BLOCK_REQ;
	letter->block.block = fetch->block;
	letter->block.tag = fetch->tag;
	rb_peer_post(peer, letter);
}

static struct rb_fetch *rb_fetch_claim_old(struct rb_peer *peer,
					   unsigned int ticks)
{
	struct rb_fetch *fetch, *found = NULL;

	spin_lock_irq(&peer->rb->lock);
	list_for_each_entry(fetch, &peer->fetches, list)
		if (fetch->ticks > ticks) {
			found = fetch;
			break;
		}
	if (found)
		rb_fetch_claim(found);
	spin_unlock_irq(&peer->rb->lock);
	return found;
}

/* They are a tick older; end those older than @ticks. */
static void rb_fetch_fail(struct rb_peer *peer, unsigned int ticks, int error)
{
	struct rb_fetch *fetch;

	spin_lock_irq(&peer->rb->lock);
	list_for_each_entry(fetch, &peer->fetches, list)
		fetch->ticks++;
	spin_unlock_irq(&peer->rb->lock);
	while ((fetch = rb_fetch_claim_old(peer, ticks))) {
		fetch->error = error;
		fetch->done(fetch);
	}
}

void rb_fetch_fail_all(struct rb_peer *peer)
{
	rb_fetch_fail(peer, 0, -ENOTCONN);
}

void rb_fetch_tick(struct rb_peer *peer)
{
	rb_fetch_fail(peer, RB_TICKS, -ETIMEDOUT);
}

static struct rb_fetch *rb_fetch_find(struct rb_peer *peer,
				      const struct rb_block_message *message)
{
	struct rb_fetch *fetch, *found = NULL;

	spin_lock_irq(&peer->rb->lock);
	list_for_each_entry(fetch, &peer->fetches, list)
		if (fetch->block == message->block &&
		    !memcmp(&fetch->tag, &message->tag, sizeof(fetch->tag))) {
			found = fetch;
			break;
		}
	if (found)
		rb_fetch_claim(found);
	spin_unlock_irq(&peer->rb->lock);
	return found;
}

static bool rb_block_give_up(struct rb_peer *peer)
{
	return peer->dialled && ++peer->silent_ticks >= RB_TICKS;
}

static int rb_block_hear_data(struct rb_peer *peer,
			      const struct rb_block_message *message)
{
	struct rb_fetch *fetch;
	int ret;

	if (!message->refused) {
		ret = rb_net_recv(peer->rb, peer->sock,
				  page_address(peer->rx_page), RB_BLOCK_BYTES,
				  rb_block_give_up, peer);
		if (ret)
			return ret;
	}
	/* One given up meanwhile is nobody's. */
	fetch = rb_fetch_find(peer, message);
	if (!fetch)
		return 0;
	fetch->error = message->refused ? -ENODATA : 0;
	if (!message->refused)
		copy_highpage(fetch->page, peer->rx_page);
	fetch->done(fetch);
	return 0;
}

/* The receiver: a BLOCK_REQ or BLOCK_DATA has come. */
int rb_block_receive(struct rb_peer *peer, const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_block_message message;
	int ret;

	ret = rb_wire_decode_block(frame, peer->rx_control, &limits, &message);
	if (ret)
		return ret;
	return frame->type == RB_WIRE_BLOCK_REQ ?
	       rb_block_serve(peer, &message) :
	       rb_block_hear_data(peer, &message);
}

static void rb_fetch_complete(struct rb_fetch *fetch)
{
	complete(fetch->private);
}

static bool rb_fetch_may_ask(struct rb_device *rb, struct rb_peer *peer)
{
	return rb_is_primary(rb) ? READ_ONCE(peer->insync) :
				   READ_ONCE(rb->backup.leader) == peer &&
				   !rb_backup_silent(rb);
}

/* Counts here, for a sender stuck in its socket counts no ticks. */
static void rb_fetch_await(struct rb_device *rb, struct rb_fetch *fetch,
			   unsigned int *patience)
{
	struct completion *done = fetch->private;
	bool given_up;

	while (*patience) {
		if (wait_for_completion_timeout(done, rb_tick(rb)))
			return;
		--*patience;
	}
	spin_lock_irq(&rb->lock);
	given_up = rb_fetch_claim(fetch);
	if (given_up)
		fetch->error = -ETIMEDOUT;
	spin_unlock_irq(&rb->lock);
	/* Somebody is just about to complete it. */
	if (!given_up)
		wait_for_completion(done);
}

/**
 * rb_fetch_wait() - get a block from whoever has it
 * @rb: the device
 * @block: number
 * @tag: what it has to be
 * @page: filled with verified ciphertext
 * @patience: ticks that may be spent on waiting, and are then gone; RB_TICKS of
 *	them are as long as a peer may be silent
 *
 * Return: 0 or an error.
 */
int rb_fetch_wait(struct rb_device *rb, u64 block, const struct rb_tag *tag,
		  struct page *page, unsigned int *patience)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct rb_fetch fetch = {
		.block = block,
		.tag = *tag,
		.page = page,
		.done = rb_fetch_complete,
		.private = &done,
	};
	struct rb_peer *peer;
	int ret = -ENODATA;

	INIT_LIST_HEAD(&fetch.list);
	rb_for_each_peer(peer, rb) {
		if (!*patience || !rb_fetch_may_ask(rb, peer))
			continue;
		reinit_completion(&done);
		rb_fetch_ask(rb, peer, &fetch);
		rb_fetch_await(rb, &fetch, patience);
		ret = fetch.error ?: rb_block_verify(rb, block, tag, page);
		if (!ret)
			return 0;
	}
	return ret;
}
