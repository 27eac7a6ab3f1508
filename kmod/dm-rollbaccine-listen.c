// SPDX-License-Identifier: GPL-2.0-only
/*
 * The listener: who may connect, and as what.
 *
 * One connection at a time is greeted, within RB_HANDSHAKE_MS, on the stack:
 * a stranger costs no memory and keeps nobody else out for long.
 */
#include <linux/kthread.h>
#include <linux/random.h>
#include <linux/sched/signal.h>

#include "dm-rollbaccine.h"

#define RB_HANDSHAKE_MS 2000

struct rb_greeting {
	struct socket *sock;
	struct rb_handshake hs;
	struct rb_hs_connector other;
	struct rb_peer *peer;
};

static bool rb_listen_give_up(struct rb_peer *peer)
{
	return true;
}

static int rb_listen_say(struct socket *sock, enum rb_wire_type type,
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

static void rb_listen_refuse(struct rb_device *rb, struct socket *sock,
			     enum rb_wire_verdict verdict)
{
	struct rb_wire_welcome welcome;

	rb_hs_refuse(verdict, &welcome);
	rb_listen_say(sock, RB_WIRE_WELCOME, &welcome, sizeof(welcome));
	spin_lock_irq(&rb->lock);
	rb->rejected++;
	spin_unlock_irq(&rb->lock);
}

static int rb_listen_hear(struct rb_device *rb, struct socket *sock,
			  enum rb_wire_type type, void *body, size_t len)
{
	struct rb_wire_header header;
	struct rb_frame frame;
	int ret;

	ret = rb_net_recv(rb, sock, &header, sizeof(header),
			  rb_listen_give_up, NULL);
	if (!ret)
		ret = rb_wire_decode_header(&header, RB_CONNECTOR, &frame);
	if (!ret && (frame.type != type || frame.control != len))
		ret = -EBADMSG;
	if (!ret)
		ret = rb_net_recv(rb, sock, body, len, rb_listen_give_up,
				  NULL);
	return ret;
}

static struct rb_peer *rb_listen_find(struct rb_device *rb, u64 id)
{
	struct rb_peer *peer;

	rb_for_each_peer(peer, rb)
		if (peer->id == id)
			return peer;
	return NULL;
}

/* Up to the proof that the other end has the key. */
static int rb_listen_authenticate(struct rb_device *rb, struct rb_greeting *g)
{
	struct rb_wire_challenge challenge;
	u8 nonce[RB_NONCE_BYTES];
	struct rb_wire_hello hello;
	struct rb_wire_proof proof;
	u32 verdict;
	u64 id;
	int ret;

	ret = rb_listen_hear(rb, g->sock, RB_WIRE_HELLO, &hello,
			     sizeof(hello));
	if (ret == -EPROTONOSUPPORT)
		rb_listen_refuse(rb, g->sock, RB_VERDICT_VERSION);
	if (ret)
		return ret;
	get_random_bytes(nonce, sizeof(nonce));
	ret = rb_hs_challenge(&g->hs, rb->keys, rb->id, &hello, nonce,
			      &challenge, &id, &verdict);
	if (ret == -ECONNREFUSED)
		rb_listen_refuse(rb, g->sock, verdict);
	if (!ret) {
		g->peer = rb_listen_find(rb, id);
		if (!g->peer) {
			rb_listen_refuse(rb, g->sock, RB_VERDICT_IDENTITY);
			ret = -ECONNREFUSED;
		}
	}
	if (!ret)
		ret = rb_listen_say(g->sock, RB_WIRE_CHALLENGE, &challenge,
				    sizeof(challenge));
	if (!ret)
		ret = rb_listen_hear(rb, g->sock, RB_WIRE_PROOF, &proof,
				     sizeof(proof));
	if (!ret)
		ret = rb_hs_check_proof(&g->hs, &proof, &g->other);
	if (ret == -EKEYREJECTED)
		rb_listen_refuse(rb, g->sock, RB_VERDICT_KEY);
	return ret;
}

/* Whatever session this peer has ends; one we dialled may be about to. */
static void rb_listen_make_room(struct rb_device *rb, struct rb_greeting *g)
{
	/* Also before a promise: what we say we have is all we shall have. */
	rb_backup_end_session(rb);
	if (!(g->other.flags & RB_HS_CANDIDATE))
		wait_event_idle(rb->wait, !READ_ONCE(g->peer->up) ||
					  rb_stopping(rb));
}

static int rb_listen_answer(struct rb_device *rb, struct rb_greeting *g,
			    enum rb_wire_verdict *verdict)
{
	struct rb_wire_welcome welcome;
	struct rb_hs_listener self;
	int ret;

	*verdict = rb_node_judge(rb, g->peer, &g->other);
	if (*verdict == RB_VERDICT_ACCEPTED)
		rb_listen_make_room(rb, g);
	rb_node_describe(rb, &self);
	ret = rb_hs_welcome(&g->hs, *verdict, &self, &welcome);
	if (!ret)
		ret = rb_listen_say(g->sock, RB_WIRE_WELCOME, &welcome,
				    sizeof(welcome));
	if (!ret && *verdict != RB_VERDICT_ACCEPTED) {
		DMWARN_LIMIT("%s: peer %llu refused: %s", rb_device_name(rb),
			     g->peer->id, rb_wire_verdict_name(*verdict));
		spin_lock_irq(&rb->lock);
		rb->rejected++;
		spin_unlock_irq(&rb->lock);
		ret = -EACCES;
	}
	return ret;
}

/* Returns 0 if the socket has become a session's. */
static int rb_listen_greet(struct rb_device *rb, struct rb_greeting *g)
{
	enum rb_wire_verdict verdict;
	struct rb_session session;
	int ret;

	rb_net_set_timeouts(g->sock, msecs_to_jiffies(RB_HANDSHAKE_MS));
	ret = rb_listen_authenticate(rb, g);
	if (ret == -EBADMSG) {
		/* Not worth an answer. */
		spin_lock_irq(&rb->lock);
		rb->rejected++;
		spin_unlock_irq(&rb->lock);
	}
	if (!ret)
		ret = rb_listen_answer(rb, g, &verdict);
	/* To a candidate the WELCOME was the promise. */
	if (!ret && (g->other.flags & RB_HS_CANDIDATE))
		ret = -ESHUTDOWN;
	if (!ret)
		ret = rb_session_start(&session, &g->hs);
	if (ret)
		return ret;
	rb_net_set_timeouts(g->sock, rb_fault_poll(rb, rb_tick(rb)));
	spin_lock_irq(&rb->lock);
	rb->backup.leader = g->peer;
	spin_unlock_irq(&rb->lock);
	rb_peer_attach(g->peer, g->sock, &session, false);
	wake_up_all(&g->peer->wait);
	return 0;
}

int rb_listen_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_greeting g;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		memset(&g, 0, sizeof(g));
		if (rb_net_accept(rb->listener, &g.sock))
			wait_event_idle_timeout(rb->wait, rb_stopping(rb),
						msecs_to_jiffies(RB_RETRY_MS));
		else if (rb_listen_greet(rb, &g))
			sock_release(g.sock);
	}
	return 0;
}
