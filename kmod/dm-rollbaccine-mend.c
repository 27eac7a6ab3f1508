// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tags that a primary's tree has lost, brought back from a peer in sync.
 *
 * Whoever needs a chunk of tags pins it, and cannot if it is lost; so no
 * operation on it is given an index before it is back.  Those that had theirs
 * earlier are waited for: with the slot for its blocks in our hands their tags
 * are recorded, and once the peer has applied as many operations its tags are
 * ours.  One chunk at a time.
 */
#include <linux/slab.h>

#include "dm-rollbaccine.h"

/**
 * struct rb_mend - who asks for what
 * @lock: one at a time asks
 * @page: for the answer
 * @done: there is one
 * @peer: who is asked; NULL: nobody.  This and the rest under rb_device.lock
 * @chunk: which
 * @error: of the answer
 */
struct rb_mend {
	struct mutex lock;
	struct page *page;
	struct completion done;
	struct rb_peer *peer;
	u64 chunk;
	int error;
};

/* ---- the one who asks -------------------------------------------------- */

/* The receiver: an answer, or @tags NULL for a refusal. */
static void rb_mend_answer(struct rb_peer *peer, u64 chunk,
			   const struct rb_tag *tags)
{
	struct rb_device *rb = peer->rb;
	struct rb_mend *mend = rb->mend;

	spin_lock_irq(&rb->lock);
	/* One given up meanwhile is nobody's. */
	if (mend->peer == peer && mend->chunk == chunk) {
		mend->peer = NULL;
		mend->error = tags ? 0 : -ENODATA;
		if (tags)
			memcpy(page_address(mend->page), tags,
			       RB_CHUNK_TAGS * sizeof(*tags));
		complete(&mend->done);
	}
	spin_unlock_irq(&rb->lock);
}

static bool rb_mend_caught_up(struct rb_peer *peer, u64 index)
{
	struct rb_device *rb = peer->rb;
	bool ret;

	spin_lock_irq(&rb->lock);
	ret = !peer->insync || peer->progress.applied >= index;
	spin_unlock_irq(&rb->lock);
	return ret;
}

/* Ask one peer, which has applied all up to @index or soon will have. */
static int rb_mend_ask(struct rb_peer *peer, u64 chunk, u64 index,
		       unsigned int *patience)
{
	struct rb_device *rb = peer->rb;
	struct rb_mend *mend = rb->mend;
	struct rb_letter *letter;

	while (*patience &&
	       !wait_event_idle_timeout(rb->primary.drain_wait,
					rb_mend_caught_up(peer, index),
					rb_tick(rb)))
		--*patience;
	if (!*patience || !READ_ONCE(peer->insync))
		return -ENOTCONN;
	letter = kzalloc(sizeof(*letter), GFP_NOIO);
	if (!letter)
		return -ENOMEM;
	letter->type = RB_WIRE_TAGS_REQ;
	letter->block.block = chunk;
	reinit_completion(&mend->done);
	spin_lock_irq(&rb->lock);
	mend->peer = peer;
	mend->chunk = chunk;
	mend->error = -ETIMEDOUT;
	spin_unlock_irq(&rb->lock);
	rb_peer_post(peer, letter);
	while (*patience && READ_ONCE(peer->up) &&
	       !wait_for_completion_timeout(&mend->done, rb_tick(rb)))
		--*patience;
	spin_lock_irq(&rb->lock);
	mend->peer = NULL;
	spin_unlock_irq(&rb->lock);
	return mend->error;
}

static int rb_mend_from(struct rb_peer *peer, u64 chunk, u64 index,
			unsigned int *patience)
{
	struct rb_device *rb = peer->rb;
	const struct rb_tag *tags = page_address(rb->mend->page);
	int ret;

	if (!READ_ONCE(peer->insync))
		return -ENOTCONN;
	ret = rb_mend_ask(peer, chunk, index, patience);
	if (!ret && !rb_tags_chunk_valid(rb->tags, chunk, tags))
		ret = -EBADMSG;
	if (!ret)
		ret = rb_tags_write_chunk(rb->tags, chunk, tags);
	if (!ret)
		DMINFO("%s: tags of chunk %llu brought back from peer %llu",
		       rb_device_name(rb), chunk, peer->id);
	return ret;
}

/* The slot is ours, and everything accepted before it is recorded. */
static int rb_mend_slotted(struct rb_device *rb, u64 chunk, u64 blocks,
			   u64 index)
{
	unsigned int patience = RB_TICKS;
	struct rb_peer *peer;
	u64 bad;
	int ret;

	ret = rb_tags_pin(rb->tags, chunk << RB_CHUNK_SHIFT, blocks,
			  RB_PIN_GET, &bad);
	if (!ret) {
		/* Somebody else was faster. */
		rb_tags_unpin(rb->tags, chunk << RB_CHUNK_SHIFT, blocks,
			      RB_PIN_GET);
		return 0;
	}
	rb_for_each_peer(peer, rb)
		if (!rb_stopping(rb) &&
		    !rb_mend_from(peer, chunk, index, &patience))
			return 0;
	DMERR_LIMIT("%s: tags of chunk %llu are lost, and no peer has them (error %d)",
		    rb_device_name(rb), chunk, ret);
	return ret;
}

/**
 * rb_mend_chunk() - have the tags of a chunk that cannot be pinned
 * @rb: the device; anything but a primary with a tree is refused
 * @chunk: which
 *
 * The caller has no slot there.  Takes as long as a peer may be silent, and as
 * a read there that waits for one.  Return: 0, or why they are lost.
 */
int rb_mend_chunk(struct rb_device *rb, u64 chunk)
{
	u64 first = chunk << RB_CHUNK_SHIFT;
	u64 blocks = min_t(u64, RB_CHUNK_TAGS, rb_blocks(rb) - first);
	struct rb_waiting_slot slot;
	u64 index;
	int ret;

	if (!rb->tree_pages || !rb_is_primary(rb) || READ_ONCE(rb->fenced))
		return -EBADMSG;
	mutex_lock(&rb->mend->lock);
	/* Nobody is between his index and his slot. */
	mutex_lock(&rb->primary.issue);
	index = rb->primary.issued;
	rb_slot_wait(&rb->store, &slot, first, blocks, false);
	mutex_unlock(&rb->primary.issue);
	ret = rb_mend_slotted(rb, chunk, blocks, index);
	rb_slot_release(&rb->store, &slot.slot);
	mutex_unlock(&rb->mend->lock);
	return ret;
}

/* ---- the one who is asked ---------------------------------------------- */

struct rb_mend_serve {
	struct work_struct work;
	struct rb_peer *peer;
	struct rb_letter *letter;
};

static void rb_mend_serve_work(struct work_struct *work)
{
	struct rb_mend_serve *serve = container_of(work, struct rb_mend_serve,
						   work);
	struct rb_letter *letter = serve->letter;
	struct rb_peer *peer = serve->peer;
	struct rb_device *rb = peer->rb;

	letter->type = RB_WIRE_TAGS;
	if (!READ_ONCE(rb->backup.insync) ||
	    rb_tags_read_chunk(rb->tags, letter->block.block,
			       page_address(letter->page))) {
		letter->type = RB_WIRE_TAGS_REQ;
		__free_page(letter->page);
		letter->page = NULL;
	}
	rb_peer_post(peer, letter);
	spin_lock_irq(&rb->lock);
	peer->serving--;
	spin_unlock_irq(&rb->lock);
	kfree(serve);
}

static int rb_mend_serve(struct rb_peer *peer, u64 chunk)
{
	struct rb_device *rb = peer->rb;
	struct rb_mend_serve *serve;
	struct rb_letter *letter;

	/* It asks for one at a time. */
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
	letter->block.block = chunk;
	serve->peer = peer;
	serve->letter = letter;
	spin_lock_irq(&rb->lock);
	peer->serving++;
	spin_unlock_irq(&rb->lock);
	INIT_WORK(&serve->work, rb_mend_serve_work);
	queue_work(rb->store.slow_wq, &serve->work);
	return 0;
}

/* The receiver: a TAGS_REQ, or on a primary TAGS, has come. */
int rb_mend_receive(struct rb_peer *peer, const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_tags_message message;
	u64 chunk;
	int ret;

	if (frame->type == RB_WIRE_TAGS) {
		ret = rb_wire_decode_tags(frame, peer->rx_control, &limits,
					  &message);
		if (!ret)
			rb_mend_answer(peer, message.chunk, message.tags);
		return ret;
	}
	ret = rb_wire_decode_tags_req(frame, peer->rx_control, &limits,
				      &chunk);
	if (ret)
		return ret;
	if (!peer->dialled)
		return rb_mend_serve(peer, chunk);
	rb_mend_answer(peer, chunk, NULL);
	return 0;
}

int rb_mend_init(struct rb_device *rb)
{
	struct rb_mend *mend = kzalloc(sizeof(*mend), GFP_KERNEL);

	if (!mend)
		return -ENOMEM;
	mend->page = alloc_page(GFP_KERNEL);
	if (!mend->page) {
		kfree(mend);
		return -ENOMEM;
	}
	mutex_init(&mend->lock);
	init_completion(&mend->done);
	rb->mend = mend;
	return 0;
}

void rb_mend_exit(struct rb_device *rb)
{
	if (!rb->mend)
		return;
	__free_page(rb->mend->page);
	kfree(rb->mend);
	rb->mend = NULL;
}
