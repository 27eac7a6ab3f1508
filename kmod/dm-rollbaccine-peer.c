// SPDX-License-Identifier: GPL-2.0-only
/*
 * One connection to another node: its threads, and all that is sent.
 *
 * Every configured peer has a receiving and a sending thread for as long as the
 * device lives.  On a primary the receiving thread dials (-dial), on a backup it
 * serves what the listener has accepted (-listen, -backup).  Everything is sent
 * under peer->tx, by the sending thread, or by whoever has just made something
 * small to send and finds nobody sending.
 */
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <net/sock.h>

#include "dm-rollbaccine.h"

/* More is left to the sending thread, so that nobody else blocks in a socket. */
#define RB_SEND_NOW_BYTES 16384
#define RB_MAX_LETTERS 512

struct rb_wire_limits rb_peer_limits(const struct rb_device *rb)
{
	return (struct rb_wire_limits){
		.sectors = rb->sectors,
		.epoch = READ_ONCE(rb->promised),
	};
}

/* Under tx, with a socket.  @control are @count pieces that the MAC covers. */
int rb_peer_send(struct rb_peer *peer, struct rb_wire_header *header,
		 const struct kvec *control, unsigned int count,
		 struct bio *data, struct page *page)
{
	struct kvec vec[RB_SIGN_PIECES + 1] = {
		{ .iov_base = header, .iov_len = sizeof(*header) },
	};
	size_t len = sizeof(*header) + le32_to_cpu(header->control);
	struct kvec body;
	unsigned int i;
	int ret;

	for (i = 0; i < count; i++)
		vec[i + 1] = control[i];
	ret = rb_session_sign(&peer->session, header, control, count);
	if (!ret)
		ret = rb_net_send(peer->sock, vec, count + 1, len,
				  data || page);
	if (!ret && data)
		ret = rb_net_send_bio(peer->sock, data,
				      le32_to_cpu(header->data));
	if (!ret && page) {
		body.iov_base = page_address(page);
		body.iov_len = RB_BLOCK_BYTES;
		ret = rb_net_send(peer->sock, &body, 1, RB_BLOCK_BYTES, false);
	}
	return ret;
}

static int rb_peer_send_op(struct rb_peer *peer, struct rb_op *op)
{
	struct rb_wire_op wire = {
		.type = op->voided ? RB_WIRE_FLUSH : op->type,
		.flags = op->voided ? RB_WIRE_F_SYNC : op->flags,
		.index = op->index,
		.epoch = op->epoch,
		.sector = op->voided ? 0 : op->first * RB_BLOCK_SECTORS,
		.sectors = op->voided ? 0 : op->blocks * RB_BLOCK_SECTORS,
	};
	struct rb_wire_op_control control;
	struct rb_wire_header header;
	struct kvec vec[2] = {
		{ .iov_base = &control, .iov_len = sizeof(control) },
	};
	unsigned int count = 1;
	int ret;

	ret = rb_wire_encode_op(&header, &control, &wire);
	if (ret)
		return ret;
	if (wire.type == RB_WIRE_WRITE) {
		rb_wire_put_tags(peer->tx_control, op->tags, op->blocks);
		vec[1].iov_base = peer->tx_control;
		vec[1].iov_len = op->blocks * RB_GCM_TAG_BYTES;
		count = 2;
	}
	return rb_peer_send(peer, &header, vec, count,
			    wire.type == RB_WIRE_WRITE ? op->bio : NULL, NULL);
}

/* The next operation this peer may be sent, with a reference. */
static struct rb_op *rb_peer_next_op(struct rb_peer *peer, u32 max_bytes)
{
	struct rb_device *rb = peer->rb;
	struct rb_op *op = NULL;

	spin_lock_irq(&rb->lock);
	if (peer->streaming)
		op = peer->cursor;
	if (op && (!op->ready || op->bytes > max_bytes ||
		   rb_fault_delay_send(rb, op)))
		op = NULL;
	if (op)
		rb_op_get(op);
	spin_unlock_irq(&rb->lock);
	return op;
}

static void rb_peer_op_sent(struct rb_peer *peer, struct rb_op *op)
{
	struct rb_device *rb = peer->rb;

	spin_lock_irq(&rb->lock);
	peer->sent = op->index;
	if (peer->cursor == op)
		peer->cursor = list_is_last(&op->log, &rb->primary.log) ?
			       NULL : list_next_entry(op, log);
	spin_unlock_irq(&rb->lock);
	rb_op_put(op);
	rb_write_trim_log(rb);
}

static int rb_peer_send_next_op(struct rb_peer *peer, u32 max_bytes)
{
	struct rb_op *op = rb_peer_next_op(peer, max_bytes);
	int ret;

	if (!op)
		return 0;
	ret = rb_peer_send_op(peer, op);
	if (ret) {
		rb_op_put(op);
		return ret;
	}
	rb_peer_op_sent(peer, op);
	return 1;
}

static void rb_letter_free(struct rb_letter *letter)
{
	if (letter->page)
		__free_page(letter->page);
	kfree(letter);
}

static struct rb_letter *rb_peer_next_letter(struct rb_peer *peer)
{
	struct rb_letter *letter;

	spin_lock_irq(&peer->rb->lock);
	letter = list_first_entry_or_null(&peer->letters, struct rb_letter,
					  list);
	if (letter) {
		list_del(&letter->list);
		peer->nr_letters--;
	}
	spin_unlock_irq(&peer->rb->lock);
	return letter;
}

static int rb_peer_send_block(struct rb_peer *peer,
			      const struct rb_letter *letter)
{
	struct rb_wire_header header;
	struct rb_wire_block control;
	struct kvec vec = { .iov_base = &control, .iov_len = sizeof(control) };

	rb_wire_encode_block(&header, &control, letter->type, &letter->block);
	return rb_peer_send(peer, &header, &vec, 1, NULL, letter->page);
}

/* A chunk of tags, or without a page the wish for it. */
static int rb_peer_send_chunk(struct rb_peer *peer,
			      const struct rb_letter *letter)
{
	struct rb_wire_header header;
	struct rb_wire_tags control;
	struct kvec vec[2] = {
		{ .iov_base = &control, .iov_len = sizeof(control) },
	};

	if (!letter->page) {
		rb_wire_encode_tags_req(&header, &control,
					letter->block.block);
		return rb_peer_send(peer, &header, vec, 1, NULL, NULL);
	}
	rb_wire_encode_tags(&header, &control, letter->block.block);
	vec[1].iov_base = page_address(letter->page);
	vec[1].iov_len = RB_CHUNK_TAGS * sizeof(struct rb_tag);
	return rb_peer_send(peer, &header, vec, 2, NULL, NULL);
}

static int rb_peer_send_letter(struct rb_peer *peer)
{
	struct rb_letter *letter = rb_peer_next_letter(peer);
	int ret;

	if (!letter)
		return 0;
	if (letter->type == RB_WIRE_TAGS || letter->type == RB_WIRE_TAGS_REQ)
		ret = rb_peer_send_chunk(peer, letter);
	else
		ret = rb_peer_send_block(peer, letter);
	rb_letter_free(letter);
	return ret ?: 1;
}

/* Takes the letter, even if there is nobody to send it to. */
void rb_peer_post(struct rb_peer *peer, struct rb_letter *letter)
{
	bool posted = false;

	spin_lock_irq(&peer->rb->lock);
	if (peer->up && peer->nr_letters < RB_MAX_LETTERS) {
		list_add_tail(&letter->list, &peer->letters);
		peer->nr_letters++;
		posted = true;
	}
	spin_unlock_irq(&peer->rb->lock);
	if (posted)
		rb_peer_kick(peer);
	else
		rb_letter_free(letter);
}

static int rb_peer_send_ping(struct rb_peer *peer)
{
	struct rb_wire_header header;

	rb_wire_encode_header(&header, RB_WIRE_PING, 0, 0);
	return rb_peer_send(peer, &header, NULL, 0, NULL, NULL) ?: 1;
}

/* Under tx.  Returns whether something was sent, or an error. */
static int rb_peer_send_any(struct rb_peer *peer)
{
	int ret = 0, more;

	if (!peer->sock)
		return 0;
	ret = rb_peer_send_letter(peer);
	if (ret)
		return ret;
	if (xchg(&peer->report_now, false) && !peer->dialled)
		return rb_backup_send_report(peer) ?: 1;
	ret = rb_peer_send_next_op(peer, U32_MAX);
	if (ret < 0)
		return ret;
	more = peer->dialled ? rb_resync_send(peer) :
			       rb_resync_send_hashes(peer);
	if (more)
		return more;
	if (!ret && xchg(&peer->ping, false))
		return rb_peer_send_ping(peer);
	return ret;
}

static bool rb_peer_can_send(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	bool can;

	spin_lock_irq(&rb->lock);
	can = peer->up &&
	      (!list_empty(&peer->letters) || peer->report_now || peer->ping ||
	       (peer->streaming && peer->cursor && peer->cursor->ready &&
		!rb_fault_delay_send(rb, peer->cursor)) ||
	       rb_resync_pending(peer));
	spin_unlock_irq(&rb->lock);
	return can;
}

void rb_peer_kick(struct rb_peer *peer)
{
	wake_up(&peer->send_wait);
}

/* Operations have become ready: send them from here if that is quick. */
static void rb_peer_try_send(struct rb_peer *peer)
{
	int ret = 1;

	if (!mutex_trylock(&peer->tx)) {
		rb_peer_kick(peer);
		return;
	}
	while (ret > 0 && peer->sock &&
	       sk_stream_wspace(peer->sock->sk) > 2 * RB_SEND_NOW_BYTES)
		ret = rb_peer_send_next_op(peer, RB_SEND_NOW_BYTES);
	mutex_unlock(&peer->tx);
	if (ret < 0)
		rb_peer_break(peer);
	if (rb_peer_can_send(peer))
		rb_peer_kick(peer);
}

void rb_peer_send_now(struct rb_device *rb)
{
	struct rb_peer *peer;

	rb_for_each_peer(peer, rb)
		if (READ_ONCE(peer->streaming))
			rb_peer_try_send(peer);
}

/* Once per tick seen, busy or not. */
static void rb_peer_tick(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;

	if (time_before(jiffies, peer->send_tick_at + rb_tick(rb)))
		return;
	peer->send_tick_at = jiffies;
	rb_fetch_tick(peer);
	if (READ_ONCE(peer->dialled))
		WRITE_ONCE(peer->ping, true);
	else
		WRITE_ONCE(peer->report_now, true);
}

static int rb_peer_send_thread(void *data)
{
	struct rb_peer *peer = data;
	struct rb_device *rb = peer->rb;
	int ret;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		wait_event_idle_timeout(peer->send_wait,
					rb_peer_can_send(peer) ||
					rb_stopping(rb),
					rb_fault_poll(rb, rb_tick(rb)));
		rb_peer_tick(peer);
		mutex_lock(&peer->tx);
		ret = rb_peer_send_any(peer);
		mutex_unlock(&peer->tx);
		if (ret < 0)
			rb_peer_break(peer);
	}
	return 0;
}

static int rb_peer_receive_thread(void *data)
{
	struct rb_peer *peer = data;
	struct rb_device *rb = peer->rb;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		if (rb_is_primary(rb) && !READ_ONCE(peer->up)) {
			rb_dial(peer);
			continue;
		}
		wait_event_idle(peer->wait, READ_ONCE(peer->up) ||
					    rb_is_primary(rb) ||
					    rb_stopping(rb));
		if (READ_ONCE(peer->up) && !peer->dialled)
			rb_backup_serve(peer);
	}
	return 0;
}

/* One message, control part in peer->rx_control, authenticated. */
int rb_peer_hear(struct rb_peer *peer, struct rb_frame *frame,
		 bool (*give_up)(struct rb_peer *peer))
{
	struct rb_wire_header header;
	int ret;

	ret = rb_net_recv(peer->rb, peer->sock, &header, sizeof(header),
			  give_up, peer);
	if (ret)
		return ret;
	WRITE_ONCE(peer->rb->backup.receiving, true);
	ret = rb_wire_decode_header(&header, peer->dialled ? RB_LISTENER :
				    RB_CONNECTOR, frame);
	if (!ret && frame->control)
		ret = rb_net_recv(peer->rb, peer->sock, peer->rx_control,
				  frame->control, give_up, peer);
	if (!ret)
		ret = rb_session_check(&peer->session, &header,
				       peer->rx_control);
	if (ret == -EBADMSG || ret == -EPROTONOSUPPORT) {
		spin_lock_irq(&peer->rb->lock);
		peer->rb->rejected++;
		spin_unlock_irq(&peer->rb->lock);
	}
	return ret;
}

/* The session is ours; whoever waits for one is woken by the caller. */
void rb_peer_attach(struct rb_peer *peer, struct socket *sock,
		    const struct rb_session *session, bool dialled)
{
	struct rb_device *rb = peer->rb;

	mutex_lock(&peer->tx);
	mutex_lock(&peer->guard);
	peer->sock = sock;
	peer->session = *session;
	peer->dialled = dialled;
	peer->broken = false;
	peer->begun = false;
	peer->named = false;
	peer->hashing = false;
	peer->ping = false;
	mutex_unlock(&peer->guard);
	mutex_unlock(&peer->tx);
	WRITE_ONCE(peer->heard_at, jiffies);
	spin_lock_irq(&rb->lock);
	peer->up = true;
	spin_unlock_irq(&rb->lock);
}

/* Make everyone blocked in the socket return; its owner then detaches it. */
void rb_peer_break(struct rb_peer *peer)
{
	mutex_lock(&peer->guard);
	if (peer->sock) {
		WRITE_ONCE(peer->broken, true);
		kernel_sock_shutdown(peer->sock, SHUT_RDWR);
	}
	mutex_unlock(&peer->guard);
	/* It may wait for room that only its end would make. */
	wake_up_all(&peer->rb->store.wait);
}

bool rb_peer_unread(struct rb_peer *peer)
{
	bool unread;

	mutex_lock(&peer->guard);
	unread = peer->sock && rb_net_unread(peer->sock);
	mutex_unlock(&peer->guard);
	return unread;
}

static void rb_peer_forget(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_letter *letter, *next;
	LIST_HEAD(letters);

	spin_lock_irq(&rb->lock);
	peer->up = false;
	peer->streaming = false;
	peer->insync = false;
	peer->cursor = NULL;
	list_splice_init(&peer->letters, &letters);
	peer->nr_letters = 0;
	spin_unlock_irq(&rb->lock);
	list_for_each_entry_safe(letter, next, &letters, list)
		rb_letter_free(letter);
}

/* The receiver only: end the session. */
void rb_peer_detach(struct rb_peer *peer)
{
	struct socket *sock;

	/* A sender blocked in the socket holds tx. */
	rb_peer_break(peer);
	mutex_lock(&peer->tx);
	mutex_lock(&peer->guard);
	sock = peer->sock;
	peer->sock = NULL;
	mutex_unlock(&peer->guard);
	rb_session_end(&peer->session);
	rb_resync_end(peer);
	rb_peer_forget(peer);
	mutex_unlock(&peer->tx);
	rb_fetch_fail_all(peer);
	rb_write_trim_log(peer->rb);
	if (sock)
		sock_release(sock);
	wake_up_all(&peer->rb->wait);
}

int rb_peer_init(struct rb_device *rb, struct rb_peer *peer)
{
	peer->rb = rb;
	mutex_init(&peer->tx);
	mutex_init(&peer->guard);
	init_waitqueue_head(&peer->wait);
	init_waitqueue_head(&peer->send_wait);
	INIT_LIST_HEAD(&peer->letters);
	INIT_LIST_HEAD(&peer->fetches);
	peer->tx_control = kmalloc(RB_WIRE_MAX_CONTROL, GFP_KERNEL);
	peer->rx_control = kmalloc(RB_WIRE_MAX_CONTROL, GFP_KERNEL);
	peer->rx_page = alloc_page(GFP_KERNEL);
	if (!peer->tx_control || !peer->rx_control || !peer->rx_page)
		return -ENOMEM;
	return 0;
}

/* Also one that was not initialised in full. */
void rb_peer_exit(struct rb_peer *peer)
{
	kfree(peer->tx_control);
	kfree(peer->rx_control);
	if (peer->rx_page)
		__free_page(peer->rx_page);
}

int rb_peer_start(struct rb_peer *peer)
{
	int ret;

	ret = rb_thread_start(&peer->send_thread, rb_peer_send_thread, peer,
			      peer->rb->id, "send");
	if (!ret)
		ret = rb_thread_start(&peer->receive_thread,
				      rb_peer_receive_thread, peer,
				      peer->rb->id, "receive");
	return ret;
}

/* rb_device.stopping is set. */
void rb_peer_stop(struct rb_peer *peer)
{
	wake_up_all(&peer->wait);
	wake_up_all(&peer->send_wait);
	rb_thread_stop(&peer->receive_thread);
	rb_thread_stop(&peer->send_thread);
	/* A session accepted too late for the receiver. */
	if (peer->tx_control)
		rb_peer_detach(peer);
}
