// SPDX-License-Identifier: GPL-2.0-only
/*
 * The listener: who may connect, and as what.
 *
 * RB_GREETINGS connections at a time are greeted, each by a worker and within
 * RB_HANDSHAKE_MS, in memory that the device has had from the start: a stranger
 * costs none.  For one more the oldest has to go, of those that have said
 * nothing if there is one: whoever has something to say gets an answer at once,
 * however many are silent.  What an authenticated one wants is done one at a
 * time.
 */
#include <linux/kthread.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <net/sock.h>

#include "dm-rollbaccine.h"

#define RB_HANDSHAKE_MS 2000
#define RB_GREETINGS 16

enum rb_greeting_step {
	RB_GREETING_SILENT,
	RB_GREETING_HELLO, /* has said something with a head and a tail */
	RB_GREETING_KNOWN, /* authenticated */
};

/**
 * struct rb_greeting - a connection that is not a session yet
 * @rb: the device
 * @work: does the talking
 * @sock: NULL: free; changed under rb_greetings.lock
 * @step: under the same
 * @deadline: for the whole handshake, in jiffies
 * @number: the lower, the older
 * @hs: the handshake
 * @other: what it says of itself; believed once @step is RB_GREETING_KNOWN
 * @peer: which one it is, or claims to be
 */
struct rb_greeting {
	struct rb_device *rb;
	struct work_struct work;
	struct socket *sock;
	enum rb_greeting_step step;
	unsigned long deadline;
	u64 number;
	struct rb_handshake hs;
	struct rb_hs_connector other;
	struct rb_peer *peer;
};

/**
 * struct rb_greetings - all of them
 * @lock: held briefly; makes a socket safe to shut down
 * @answer: one at a time is answered
 * @wq: for their work
 * @count: of connections seen
 * @all: of them
 */
struct rb_greetings {
	struct mutex lock;
	struct mutex answer;
	struct workqueue_struct *wq;
	u64 count;
	struct rb_greeting all[RB_GREETINGS];
};

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

static int rb_listen_hear(struct rb_greeting *g, enum rb_wire_type type,
			  void *body, size_t len)
{
	struct rb_wire_header header;
	struct rb_frame frame;
	int ret;

	ret = rb_net_recv_until(g->rb, g->sock, &header, sizeof(header),
				g->deadline);
	if (!ret)
		ret = rb_wire_decode_header(&header, RB_CONNECTOR, &frame);
	if (!ret && (frame.type != type || frame.control != len))
		ret = -EBADMSG;
	if (!ret)
		ret = rb_net_recv_until(g->rb, g->sock, body, len,
					g->deadline);
	return ret;
}

static void rb_listen_step(struct rb_greeting *g, enum rb_greeting_step step)
{
	struct rb_greetings *greetings = g->rb->greetings;

	mutex_lock(&greetings->lock);
	g->step = step;
	mutex_unlock(&greetings->lock);
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

	ret = rb_listen_hear(g, RB_WIRE_HELLO, &hello, sizeof(hello));
	if (ret == -EPROTONOSUPPORT)
		rb_listen_refuse(rb, g->sock, RB_VERDICT_VERSION);
	if (ret)
		return ret;
	rb_listen_step(g, RB_GREETING_HELLO);
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
		ret = rb_listen_hear(g, RB_WIRE_PROOF, &proof, sizeof(proof));
	if (!ret)
		ret = rb_hs_check_proof(&g->hs, &proof, &g->other);
	if (ret == -EKEYREJECTED)
		rb_listen_refuse(rb, g->sock, RB_VERDICT_KEY);
	if (!ret)
		rb_listen_step(g, RB_GREETING_KNOWN);
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
	if (*verdict == RB_VERDICT_ACCEPTED &&
	    !(g->other.flags & RB_HS_PROBE))
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

/* Others may have been answered first: whether there still is anybody. */
static bool rb_listen_gone(const struct rb_greeting *g)
{
	return READ_ONCE(g->sock->sk->sk_state) != TCP_ESTABLISHED;
}

/* Returns 0 if the socket has become a session's. */
static int rb_listen_begin(struct rb_device *rb, struct rb_greeting *g)
{
	struct rb_greetings *greetings = rb->greetings;
	enum rb_wire_verdict verdict;
	struct rb_session session;
	struct socket *sock;
	int ret;

	if (rb_stopping(rb) || rb_listen_gone(g))
		return -ECONNRESET;
	ret = rb_listen_answer(rb, g, &verdict);
	/* To a candidate the WELCOME was the promise. */
	if (!ret && (g->other.flags & RB_HS_CANDIDATE))
		ret = -ESHUTDOWN;
	if (!ret)
		ret = rb_session_start(&session, &g->hs);
	if (ret)
		return ret;
	mutex_lock(&greetings->lock);
	sock = g->sock;
	g->sock = NULL;
	mutex_unlock(&greetings->lock);
	rb_net_set_timeouts(sock, rb_fault_poll(rb, rb_tick(rb)));
	spin_lock_irq(&rb->lock);
	rb->backup.leader = g->peer;
	spin_unlock_irq(&rb->lock);
	rb_peer_attach(g->peer, sock, &session, false);
	wake_up_all(&g->peer->wait);
	return 0;
}

static void rb_listen_greet(struct rb_device *rb, struct rb_greeting *g)
{
	struct rb_greetings *greetings = rb->greetings;
	struct socket *sock;
	int ret;

	ret = rb_listen_authenticate(rb, g);
	if (ret == -EBADMSG) {
		/* Not worth an answer. */
		spin_lock_irq(&rb->lock);
		rb->rejected++;
		spin_unlock_irq(&rb->lock);
	}
	if (!ret) {
		mutex_lock(&greetings->answer);
		ret = rb_listen_begin(rb, g);
		mutex_unlock(&greetings->answer);
	}
	if (!ret)
		return;
	mutex_lock(&greetings->lock);
	sock = g->sock;
	g->sock = NULL;
	mutex_unlock(&greetings->lock);
	sock_release(sock);
}

static void rb_listen_work(struct work_struct *work)
{
	struct rb_greeting *g = container_of(work, struct rb_greeting, work);
	unsigned int noio = memalloc_noio_save();

	rb_listen_greet(g->rb, g);
	memalloc_noio_restore(noio);
}

/* Lock held. */
static struct rb_greeting *rb_listen_free(struct rb_greetings *greetings)
{
	struct rb_greeting *g;

	for (g = greetings->all; g < greetings->all + RB_GREETINGS; g++)
		/* One without a socket may still be about to return. */
		if (!g->sock && !work_busy(&g->work))
			return g;
	return NULL;
}

/* The one that is to make room, if there is one.  Lock held. */
static struct rb_greeting *rb_listen_victim(struct rb_greetings *greetings)
{
	struct rb_greeting *g, *victim = NULL;

	for (g = greetings->all; g < greetings->all + RB_GREETINGS; g++) {
		if (!g->sock || g->step == RB_GREETING_KNOWN)
			continue;
		if (!victim || g->step < victim->step ||
		    (g->step == victim->step && g->number < victim->number))
			victim = g;
	}
	return victim;
}

/* Returns false if there is no room yet. */
static bool rb_listen_seat(struct rb_device *rb, struct socket *sock)
{
	struct rb_greetings *greetings = rb->greetings;
	struct rb_greeting *g, *victim;

	mutex_lock(&greetings->lock);
	g = rb_listen_free(greetings);
	if (g) {
		g->step = RB_GREETING_SILENT;
		g->deadline = jiffies + msecs_to_jiffies(RB_HANDSHAKE_MS);
		g->number = ++greetings->count;
		g->peer = NULL;
		memset(&g->hs, 0, sizeof(g->hs));
		memset(&g->other, 0, sizeof(g->other));
		g->sock = sock;
		queue_work(greetings->wq, &g->work);
	} else {
		victim = rb_listen_victim(greetings);
		if (victim)
			kernel_sock_shutdown(victim->sock, SHUT_RDWR);
	}
	mutex_unlock(&greetings->lock);
	return g;
}

/* Find a place for it, at the cost of another if need be. */
static void rb_listen_admit(struct rb_device *rb, struct socket *sock)
{
	while (!rb_listen_seat(rb, sock)) {
		if (rb_stopping(rb)) {
			sock_release(sock);
			return;
		}
		/* Who makes room does so within a moment. */
		schedule_timeout_idle(1);
	}
}

int rb_listen_thread(void *data)
{
	struct rb_device *rb = data;
	struct socket *sock;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		if (rb_net_accept(rb->listener, &sock))
			wait_event_idle_timeout(rb->wait, rb_stopping(rb),
						msecs_to_jiffies(RB_RETRY_MS));
		else
			rb_listen_admit(rb, sock);
	}
	return 0;
}

/* The listening thread has ended: so do those it has let in. */
void rb_listen_stop(struct rb_device *rb)
{
	struct rb_greetings *greetings = rb->greetings;
	struct rb_greeting *g;

	mutex_lock(&greetings->lock);
	for (g = greetings->all; g < greetings->all + RB_GREETINGS; g++)
		if (g->sock)
			kernel_sock_shutdown(g->sock, SHUT_RDWR);
	mutex_unlock(&greetings->lock);
	flush_workqueue(greetings->wq);
}

int rb_listen_init(struct rb_device *rb)
{
	struct rb_greetings *greetings;
	struct rb_greeting *g;

	greetings = kzalloc(sizeof(*greetings), GFP_KERNEL);
	if (!greetings)
		return -ENOMEM;
	greetings->wq = alloc_workqueue("rollbaccine_greet",
					WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!greetings->wq) {
		kfree(greetings);
		return -ENOMEM;
	}
	mutex_init(&greetings->lock);
	mutex_init(&greetings->answer);
	for (g = greetings->all; g < greetings->all + RB_GREETINGS; g++) {
		g->rb = rb;
		INIT_WORK(&g->work, rb_listen_work);
	}
	rb->greetings = greetings;
	return 0;
}

void rb_listen_exit(struct rb_device *rb)
{
	if (!rb->greetings)
		return;
	destroy_workqueue(rb->greetings->wq);
	kfree(rb->greetings);
	rb->greetings = NULL;
}
