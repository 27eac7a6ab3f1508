// SPDX-License-Identifier: GPL-2.0-only
/*
 * A primary's connection to one of its peers: find it, agree, bring it up to
 * date, hear how far it has come.
 *
 * Time is counted in ticks seen, not in jiffies passed: a guest that was paused
 * for a minute finds its clock advanced, its peers alive, and one tick gone.
 */
#include <linux/random.h>

#include "dm-rollbaccine.h"

/* Whether the peer owes us something and has got nowhere for a timeout. */
static bool rb_dial_stalled(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_op *last = NULL;
	bool owing;
	u64 mark;

	if (time_before(jiffies, peer->tick_at + rb_tick(rb)))
		return false;
	peer->tick_at = jiffies;

	spin_lock_irq(&rb->lock);
	if (!list_empty(&rb->primary.waiters))
		last = list_last_entry(&rb->primary.waiters, struct rb_op,
				       waiter);
	owing = rb->primary.issued > peer->progress.received ||
		(last && last->index > peer->progress.durable);
	mark = peer->progress.received + peer->progress.applied +
	       peer->progress.durable - peer->progress.missing +
	       peer->progress.steps + READ_ONCE(peer->hashed) +
	       READ_ONCE(peer->next_chunk);
	spin_unlock_irq(&rb->lock);

	if (!owing || mark != peer->stall_mark) {
		peer->stall_mark = mark;
		peer->stall_ticks = 0;
		return false;
	}
	return ++peer->stall_ticks >= RB_TICKS;
}

/* Asked after each tick without a byte. */
static bool rb_dial_give_up(struct rb_peer *peer)
{
	return !rb_is_primary(peer->rb) || READ_ONCE(peer->rb->fenced) ||
	       ++peer->silent_ticks >= RB_TICKS || rb_dial_stalled(peer);
}

static bool rb_dial_give_up_asking(struct rb_peer *peer)
{
	return ++peer->silent_ticks >= RB_TICKS;
}

/* Handshake messages are not signed: they have proofs of their own. */
static int rb_dial_say(struct socket *sock, enum rb_wire_type type,
		       void *body, size_t len)
{
	struct rb_wire_header header;
	struct kvec vec[2] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = body, .iov_len = len },
	};

	rb_wire_encode_header(&header, type, len, 0);
	return rb_net_send(sock, vec, 2, sizeof(header) + len, false);
}

static int rb_dial_hear(struct rb_peer *peer, struct socket *sock,
			enum rb_wire_type *type, void *body, size_t room)
{
	struct rb_wire_header header;
	struct rb_frame frame;
	int ret;

	ret = rb_net_recv(peer->rb, sock, &header, sizeof(header),
			  rb_dial_give_up_asking, peer);
	if (!ret)
		ret = rb_wire_decode_header(&header, RB_LISTENER, &frame);
	if (ret)
		return ret;
	if ((frame.type != RB_WIRE_CHALLENGE &&
	     frame.type != RB_WIRE_WELCOME) || frame.control > room)
		return -EBADMSG;
	*type = frame.type;
	return rb_net_recv(peer->rb, sock, body, frame.control,
			   rb_dial_give_up_asking, peer);
}

/* The attempts go on; one line per reason is enough. */
static void rb_dial_refused(struct rb_peer *peer, u32 verdict)
{
	struct rb_device *rb = peer->rb;

	if (peer->last_refusal == verdict)
		return;
	peer->last_refusal = verdict;
	DMWARN("%s: peer %llu refuses: %s", rb_device_name(rb), peer->id,
	       rb_wire_verdict_name(verdict));
	spin_lock_irq(&rb->lock);
	rb->rejected++;
	spin_unlock_irq(&rb->lock);
}

static void rb_dial_introduce(struct rb_peer *peer, struct rb_handshake *hs,
			      struct rb_wire_hello *hello, u32 candidate,
			      u32 flags)
{
	struct rb_device *rb = peer->rb;
	u8 nonce[RB_NONCE_BYTES];
	struct rb_hs_connector self = {
		.id = rb->id,
		.sectors = rb->sectors,
		.flags = flags,
	};

	spin_lock_irq(&rb->lock);
	self.incarnation = rb->incarnation;
	self.issued = candidate ? rb->backup.position : rb->primary.issued;
	self.epoch = candidate ?: rb->epoch;
	memcpy(self.cluster, rb->cluster, sizeof(self.cluster));
	spin_unlock_irq(&rb->lock);
	get_random_bytes(nonce, sizeof(nonce));
	rb_hs_hello(hs, rb->keys, &self, peer->id, nonce, hello);
}

union rb_hs_answer {
	struct rb_wire_challenge challenge;
	struct rb_wire_welcome welcome;
};

/**
 * rb_dial_handshake() - agree with the listener at the other end of a socket
 * @peer: who it should be
 * @sock: connected
 * @candidate: 0, or the epoch we should like to lead
 * @flags: RB_HS_CANDIDATE and _PROBE, or none
 * @session: started on 0
 * @other: what it says of itself, on 0 and on an authenticated refusal
 *
 * Return: 0, -ECONNREFUSED, or another error.
 */
static int rb_dial_handshake(struct rb_peer *peer, struct socket *sock,
			     u32 candidate, u32 flags,
			     struct rb_session *session,
			     struct rb_hs_listener *other)
{
	struct rb_handshake hs = {};
	union rb_hs_answer answer;
	struct rb_wire_hello hello;
	struct rb_wire_proof proof;
	enum rb_wire_type type;
	u32 verdict = 0;
	int ret;

	memset(other, 0, sizeof(*other));
	rb_dial_introduce(peer, &hs, &hello, candidate, flags);
	ret = rb_dial_say(sock, RB_WIRE_HELLO, &hello, sizeof(hello));
	if (!ret)
		ret = rb_dial_hear(peer, sock, &type, &answer, sizeof(answer));
	if (ret)
		return ret;
	if (type == RB_WIRE_WELCOME) {
		ret = rb_hs_refusal(&hs, &answer.welcome, &verdict);
		goto out;
	}
	ret = rb_hs_prove(&hs, &answer.challenge, &proof);
	if (!ret)
		ret = rb_dial_say(sock, RB_WIRE_PROOF, &proof, sizeof(proof));
	if (!ret)
		ret = rb_dial_hear(peer, sock, &type, &answer, sizeof(answer));
	if (!ret && type != RB_WIRE_WELCOME)
		ret = -EBADMSG;
	if (!ret)
		ret = rb_hs_finish(&hs, &answer.welcome, &verdict, other);
	if (!ret)
		ret = rb_session_start(session, &hs);
out:
	if (ret == -ECONNREFUSED)
		rb_dial_refused(peer, verdict);
	else if (ret == -EKEYREJECTED)
		rb_dial_refused(peer, RB_VERDICT_KEY);
	if (ret == -EBADMSG || ret == -EREMCHG) {
		spin_lock_irq(&peer->rb->lock);
		peer->rb->rejected++;
		spin_unlock_irq(&peer->rb->lock);
	}
	if (ret == -ECONNREFUSED && verdict == RB_VERDICT_EPOCH && !candidate)
		rb_node_fence(peer->rb, other->epoch, peer->id);
	return ret;
}

/* Whether its memory is of no use for ours. */
static bool rb_dial_needs_all(struct rb_device *rb,
			      const struct rb_hs_listener *other)
{
	return (other->flags & RB_HS_EMPTY) ||
	       memcmp(other->cluster, rb->cluster, sizeof(rb->cluster));
}

/* One attempt.  On success the session is up and its resync has begun. */
static int rb_dial_join(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	struct rb_hs_listener other;
	struct rb_session session;
	struct socket *sock;
	int ret;

	ret = rb_net_connect(rb, peer->addr, peer->port, &sock);
	if (ret)
		return ret;
	peer->silent_ticks = 0;
	rb_net_set_timeouts(sock, rb_tick(rb));
	ret = rb_dial_handshake(peer, sock, 0, 0, &session, &other);
	if (ret) {
		sock_release(sock);
		return ret;
	}
	peer->last_refusal = RB_VERDICT_ACCEPTED;
	peer->incarnation = other.incarnation;
	peer->full = rb_dial_needs_all(rb, &other);
	rb_peer_attach(peer, sock, &session, true);
	mutex_lock(&peer->tx);
	ret = rb_resync_begin(peer);
	mutex_unlock(&peer->tx);
	if (ret)
		rb_peer_detach(peer);
	return ret;
}

static int rb_dial_hear_progress(struct rb_peer *peer,
				 const struct rb_frame *frame)
{
	struct rb_wire_limits limits = rb_peer_limits(peer->rb);
	struct rb_device *rb = peer->rb;
	struct rb_progress progress;
	bool news;
	int ret;

	spin_lock_irq(&rb->lock);
	ret = rb_wire_decode_progress(frame, peer->rx_control, &limits,
				      &peer->progress, rb->primary.issued,
				      &progress);
	if (!ret)
		peer->progress = progress;
	news = !ret && !peer->insync && (progress.flags & RB_PROGRESS_INSYNC);
	if (news)
		peer->insync = true;
	spin_unlock_irq(&rb->lock);
	if (ret)
		return ret;
	if (news) {
		DMINFO("%s: peer %llu is in sync", rb_device_name(rb),
		       peer->id);
		rb_node_evaluate(rb);
	}
	rb_write_complete(rb);
	wake_up(&rb->primary.drain_wait);
	return progress.flags & RB_PROGRESS_FAILED ? -EREMOTEIO : 0;
}

static int rb_dial_hear_fenced(struct rb_peer *peer,
			       const struct rb_frame *frame)
{
	u32 epoch;
	int ret = rb_wire_decode_epoch(frame, peer->rx_control, &epoch);

	if (ret)
		return ret;
	rb_node_fence(peer->rb, epoch, peer->id);
	return -ESTALE;
}

static int rb_dial_hear_one(struct rb_peer *peer)
{
	struct rb_frame frame;
	int ret;

	ret = rb_peer_hear(peer, &frame, rb_dial_give_up);
	if (ret)
		return ret;
	peer->silent_ticks = 0;
	switch (frame.type) {
	case RB_WIRE_PROGRESS:
		ret = rb_dial_hear_progress(peer, &frame);
		break;
	case RB_WIRE_HASHES:
		ret = rb_resync_hear_hashes(peer, &frame);
		break;
	case RB_WIRE_BLOCK_REQ:
	case RB_WIRE_BLOCK_DATA:
		ret = rb_block_receive(peer, &frame);
		break;
	case RB_WIRE_TAGS:
	case RB_WIRE_TAGS_REQ:
		ret = rb_mend_receive(peer, &frame);
		break;
	case RB_WIRE_FENCED:
		ret = rb_dial_hear_fenced(peer, &frame);
		break;
	case RB_WIRE_PING:
		break;
	default:
		ret = -EBADMSG;
	}
	return ret ?: rb_dial_stalled(peer) ? -ETIMEDOUT : 0;
}

static const char *rb_dial_why(int error)
{
	switch (error) {
	case -ETIMEDOUT:
		return "silence, or no progress";
	case -EREMOTEIO:
		return "its disk has failed";
	case -EBADMSG:
	case -EPROTONOSUPPORT:
		return "malformed or forged message";
	case -ESTALE:
		return "there is a higher epoch";
	default:
		return "connection closed";
	}
}

static void rb_dial_serve(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;
	int ret;

	peer->silent_ticks = 0;
	peer->stall_ticks = 0;
	peer->tick_at = jiffies;
	DMINFO("%s: connected to peer %llu", rb_device_name(rb), peer->id);
	rb_node_evaluate(rb);
	do {
		ret = rb_dial_hear_one(peer);
	} while (!ret && rb_is_primary(rb) && !READ_ONCE(rb->fenced));
	rb_peer_detach(peer);
	if (!rb_stopping(rb))
		DMWARN("%s: peer %llu lost (%s)", rb_device_name(rb),
		       peer->id, rb_dial_why(ret));
	rb_node_evaluate(rb);
}

/* The receiving thread of a primary: one attempt, and what comes of it. */
void rb_dial(struct rb_peer *peer)
{
	struct rb_device *rb = peer->rb;

	if (!READ_ONCE(rb->fenced) && !READ_ONCE(peer->blocked) &&
	    READ_ONCE(rb->started) && !rb_dial_join(peer)) {
		rb_dial_serve(peer);
		return;
	}
	wait_event_idle_timeout(peer->wait, rb_stopping(rb) ||
					    !rb_is_primary(rb),
				msecs_to_jiffies(RB_RETRY_MS));
}

/**
 * rb_dial_ask() - ask a node to promise that it will follow nobody else
 * @peer: the node
 * @epoch: we should like to lead
 * @probe: only ask whether it would, which changes nothing there
 * @other: what it has; valid on 0 and, if its epoch is not 0, on -ECONNREFUSED
 *
 * Return: 0 if it has promised.
 */
int rb_dial_ask(struct rb_peer *peer, u32 epoch, bool probe,
		struct rb_hs_listener *other)
{
	const u32 flags = RB_HS_CANDIDATE | (probe ? RB_HS_PROBE : 0);
	struct rb_session session = {};
	struct socket *sock;
	int ret;

	memset(other, 0, sizeof(*other));
	ret = rb_net_connect(peer->rb, peer->addr, peer->port, &sock);
	if (ret)
		return ret;
	peer->silent_ticks = 0;
	rb_net_set_timeouts(sock, rb_tick(peer->rb));
	ret = rb_dial_handshake(peer, sock, epoch, flags, &session, other);
	rb_session_end(&session);
	sock_release(sock);
	return ret;
}
