// SPDX-License-Identifier: GPL-2.0-only
/*
 * The primary's connection: find the backup, agree, hear how far it has come.
 *
 * Time is counted in ticks seen, not in jiffies passed: a guest that was paused
 * for a minute finds its clock advanced, its peer alive, and one tick gone.
 */
#include <linux/kthread.h>
#include <linux/sched/signal.h>

#include "dm-rollbaccine.h"

#define RB_RETRY_MS 100

/* Whether the backup owes us something and has got nowhere for a timeout. */
static bool rb_uplink_stalled(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	struct rb_op *last = NULL;
	bool owing;
	u64 mark;

	if (time_before(jiffies, p->tick_at + rb_tick(rb)))
		return false;
	p->tick_at = jiffies;

	spin_lock_irq(&rb->lock);
	if (!list_empty(&p->waiters))
		last = list_last_entry(&p->waiters, struct rb_op, waiter);
	owing = p->issued > p->peer.received ||
		(last && last->index > p->peer.durable);
	mark = p->peer.received + p->peer.applied + p->peer.durable;
	spin_unlock_irq(&rb->lock);

	if (!owing || mark != p->stall_mark) {
		p->stall_mark = mark;
		p->stall_ticks = 0;
		return false;
	}
	return ++p->stall_ticks >= RB_TICKS;
}

/* Asked after each tick without a byte. */
static bool rb_uplink_give_up(struct rb_device *rb)
{
	return ++rb->primary.silent_ticks >= RB_TICKS || rb_uplink_stalled(rb);
}

/*
 * The connection is gone.  If the backup has all that was ever issued, durably
 * where that was asked for, another connection can carry on.  Otherwise the
 * pair has come apart, and there is no resync yet.
 */
static void rb_uplink_lost(struct rb_device *rb, const char *why, bool for_good)
{
	struct rb_primary *p = &rb->primary;
	bool missed;

	spin_lock_irq(&rb->lock);
	missed = for_good || p->issued != p->peer.received ||
		 !list_empty(&p->waiters);
	WRITE_ONCE(rb->state, missed ? RB_LOST : RB_CONNECTING);
	spin_unlock_irq(&rb->lock);
	rb_conn_detach(&rb->conn);
	if (missed)
		rb_primary_abandon(rb);
	rb_primary_wake(rb);
	if (rb_stopping(rb))
		return;
	if (missed)
		DMERR("%s: peer lost (%s), device is degraded",
		      rb_device_name(rb), why);
	else
		DMWARN("%s: connection lost (%s), nothing missed",
		       rb_device_name(rb), why);
	dm_table_event(rb->ti->table);
}

static int rb_uplink_say_hello(struct rb_device *rb, struct socket *sock)
{
	struct {
		struct rb_wire_header header;
		struct rb_wire_hello hello;
	} message = {
		.hello = {
			.id = cpu_to_le64(rb->id),
			.generation = cpu_to_le64(rb->generation),
			.sectors = cpu_to_le64(rb->ti->len),
			.issued = cpu_to_le64(rb->primary.issued),
			.peer_generation = cpu_to_le64(rb->peer_generation),
		},
	};

	rb_wire_header_init(&message.header, RB_WIRE_HELLO,
			    sizeof(message.hello));
	return rb_net_send(sock, &message, sizeof(message), false);
}

static int rb_uplink_hear_welcome(struct rb_device *rb, struct socket *sock,
				  struct rb_wire_welcome *welcome)
{
	struct rb_wire_header header;
	int ret;

	ret = rb_net_recv(rb, sock, &header, sizeof(header), rb_uplink_give_up);
	if (!ret)
		ret = rb_wire_check_control(&header, RB_WIRE_WELCOME,
					    sizeof(*welcome));
	if (!ret)
		ret = rb_net_recv(rb, sock, welcome, sizeof(*welcome),
				  rb_uplink_give_up);
	return ret;
}

static void rb_uplink_refused(struct rb_device *rb, u32 verdict)
{
	struct rb_primary *p = &rb->primary;

	/* The attempts go on; one line per reason is enough. */
	if (p->last_refusal != verdict)
		DMWARN("%s: backup refuses: %s", rb_device_name(rb),
		       rb_wire_verdict_name(verdict));
	p->last_refusal = verdict;
	if (p->issued && (verdict == RB_VERDICT_STALE ||
			  verdict == RB_VERDICT_FAILED))
		rb_uplink_lost(rb, rb_wire_verdict_name(verdict), true);
}

/* The backup accepted us; do we accept it? */
static bool rb_uplink_acceptable(struct rb_device *rb,
				 const struct rb_wire_welcome *welcome)
{
	u64 received = le64_to_cpu(welcome->received);
	u64 applied = le64_to_cpu(welcome->applied);
	u64 id = le64_to_cpu(welcome->id);

	return !welcome->reserved && id && id != rb->id &&
	       welcome->generation &&
	       le64_to_cpu(welcome->sectors) == rb->ti->len &&
	       received == rb->primary.issued && applied <= received &&
	       le64_to_cpu(welcome->durable) <= applied;
}

/* One attempt.  On success the state is RB_CONNECTED. */
static int rb_uplink_join(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	struct rb_wire_welcome welcome;
	struct socket *sock;
	int ret;

	ret = rb_net_connect(rb, &sock);
	if (ret)
		return ret;
	p->silent_ticks = 0;
	rb_net_set_timeouts(sock, rb_tick(rb));
	ret = rb_uplink_say_hello(rb, sock);
	if (!ret)
		ret = rb_uplink_hear_welcome(rb, sock, &welcome);
	if (!ret && welcome.verdict) {
		rb_uplink_refused(rb, le32_to_cpu(welcome.verdict));
		ret = -ECONNREFUSED;
	} else if (!ret && !rb_uplink_acceptable(rb, &welcome)) {
		rb_uplink_refused(rb, RB_VERDICT_STALE);
		ret = -EBADMSG;
	}
	if (ret) {
		sock_release(sock);
		return ret;
	}
	p->last_refusal = RB_VERDICT_ACCEPTED;
	rb_conn_attach(&rb->conn, sock);
	spin_lock_irq(&rb->lock);
	rb->peer_id = le64_to_cpu(welcome.id);
	rb->peer_generation = le64_to_cpu(welcome.generation);
	p->peer.received = le64_to_cpu(welcome.received);
	p->peer.applied = le64_to_cpu(welcome.applied);
	p->peer.durable = le64_to_cpu(welcome.durable);
	WRITE_ONCE(rb->state, RB_CONNECTED);
	spin_unlock_irq(&rb->lock);
	return 0;
}

/* Receive one report.  Returns 0, or sets @why. */
static int rb_uplink_hear_progress(struct rb_device *rb, const char **why)
{
	struct rb_primary *p = &rb->primary;
	struct socket *sock = rb->conn.sock;
	struct rb_wire_progress wire;
	struct rb_wire_header header;
	struct rb_progress progress;
	int ret;

	*why = "connection closed";
	ret = rb_net_recv(rb, sock, &header, sizeof(header), rb_uplink_give_up);
	if (!ret) {
		*why = "malformed message";
		ret = rb_wire_check_control(&header, RB_WIRE_PROGRESS,
					    sizeof(wire));
	}
	if (!ret) {
		*why = "connection closed";
		ret = rb_net_recv(rb, sock, &wire, sizeof(wire),
				  rb_uplink_give_up);
	}
	if (ret == -ETIMEDOUT)
		*why = "silence, or no progress";
	if (ret)
		return ret;

	p->silent_ticks = 0;
	spin_lock_irq(&rb->lock);
	ret = rb_wire_decode_progress(&wire, &p->peer, p->issued, &progress);
	if (!ret)
		p->peer = progress;
	spin_unlock_irq(&rb->lock);
	*why = "malformed report";
	if (ret)
		return ret;
	rb_primary_complete(rb);
	wake_up(&p->drain_wait);
	*why = "its disk has failed";
	if (wire.failed)
		return -EREMOTEIO;
	*why = "no progress";
	return rb_uplink_stalled(rb) ? -ETIMEDOUT : 0;
}

static void rb_uplink_serve(struct rb_device *rb)
{
	struct rb_primary *p = &rb->primary;
	const char *why;
	int ret;

	p->silent_ticks = 0;
	p->stall_ticks = 0;
	p->tick_at = jiffies;
	DMINFO("%s: connected to backup %llu", rb_device_name(rb),
	       rb->peer_id);
	rb_primary_wake(rb);
	dm_table_event(rb->ti->table);
	do {
		ret = rb_uplink_hear_progress(rb, &why);
	} while (!ret);
	/* An unusable peer stays one; a broken line may come back. */
	rb_uplink_lost(rb, why, ret == -EREMOTEIO || ret == -EBADMSG);
}

int rb_uplink_thread(void *data)
{
	struct rb_device *rb = data;

	rb_thread_enter();
	while (!rb_stopping(rb) && rb->state != RB_LOST) {
		if (signal_pending(current))
			flush_signals(current);
		if (!rb_uplink_join(rb))
			rb_uplink_serve(rb);
		else
			wait_event_idle_timeout(rb->primary.drain_wait,
						rb_stopping(rb),
						msecs_to_jiffies(RB_RETRY_MS));
	}
	return 0;
}
