// SPDX-License-Identifier: GPL-2.0-only
/*
 * The backup: one thread accepts a primary and refuses the others, one receives
 * and applies, one reports progress.
 *
 * A silent primary is not cut off: it may merely be paused, and what it has
 * already sent stays applicable.  It is reported as lost until it speaks again,
 * and its place can be taken by its own new connection.
 */
#include <linux/kthread.h>
#include <linux/sched/signal.h>

#include "dm-rollbaccine.h"

#define RB_HANDSHAKE_MS 2000
#define RB_RETRY_MS 100

static void rb_backup_want_report(struct rb_device *rb)
{
	WRITE_ONCE(rb->backup.report, true);
	wake_up(&rb->backup.report_wait);
}

static void rb_backup_written(struct rb_store *store, struct rb_op *op)
{
}

static void rb_backup_progress(struct rb_store *store)
{
	rb_backup_want_report(container_of(store, struct rb_device, store));
}

static const struct rb_store_ops rb_backup_store_ops = {
	.written = rb_backup_written,
	.synced = rb_backup_written,
	.progress = rb_backup_progress,
};

bool rb_backup_silent(const struct rb_device *rb)
{
	return time_after(jiffies, READ_ONCE(rb->backup.heard_at) +
				   rb_peer_timeout(rb));
}

static void rb_backup_read_progress(struct rb_device *rb,
				    struct rb_progress *ret)
{
	/* Innermost first: no prefix may overtake the one it lies in. */
	spin_lock_irq(&rb->store.lock);
	ret->durable = rb->store.durable;
	ret->applied = rb->store.applied;
	spin_unlock_irq(&rb->store.lock);
	spin_lock_irq(&rb->lock);
	ret->received = rb->backup.received;
	spin_unlock_irq(&rb->lock);
}

static bool rb_backup_failed(const struct rb_device *rb)
{
	return READ_ONCE(rb->store.failed);
}

static enum rb_wire_verdict rb_backup_judge(struct rb_device *rb,
					    const struct rb_wire_hello *hello)
{
	struct rb_backup *b = &rb->backup;
	u64 id = le64_to_cpu(hello->id);
	bool known;

	if (rb_backup_failed(rb))
		return RB_VERDICT_FAILED;
	if (!id || id == rb->id || !hello->generation)
		return RB_VERDICT_IDENTITY;
	if (le64_to_cpu(hello->sectors) != rb->ti->len)
		return RB_VERDICT_SIZE;
	if (READ_ONCE(b->attached) && !rb_backup_silent(rb))
		return RB_VERDICT_BUSY;
	if (le64_to_cpu(hello->issued) != b->received)
		return RB_VERDICT_STALE;
	/* As long as nothing was written, any primary may be the first. */
	known = le64_to_cpu(hello->generation) == rb->peer_generation &&
		le64_to_cpu(hello->peer_generation) == rb->generation;
	return !b->received || known ? RB_VERDICT_ACCEPTED : RB_VERDICT_STALE;
}

static bool rb_backup_give_up_greeting(struct rb_device *rb)
{
	return true;
}

static int rb_backup_hear_hello(struct rb_device *rb, struct socket *sock,
				struct rb_wire_hello *hello)
{
	struct rb_wire_header header;
	int ret;

	ret = rb_net_recv(rb, sock, &header, sizeof(header),
			  rb_backup_give_up_greeting);
	if (!ret)
		ret = rb_wire_check_control(&header, RB_WIRE_HELLO,
					    sizeof(*hello));
	if (!ret)
		ret = rb_net_recv(rb, sock, hello, sizeof(*hello),
				  rb_backup_give_up_greeting);
	return ret;
}

static int rb_backup_say_welcome(struct rb_device *rb, struct socket *sock,
				 enum rb_wire_verdict verdict)
{
	struct {
		struct rb_wire_header header;
		struct rb_wire_welcome welcome;
	} message = {
		.welcome.verdict = cpu_to_le32(verdict),
	};
	struct rb_wire_welcome *welcome = &message.welcome;
	struct rb_progress progress;

	if (verdict == RB_VERDICT_ACCEPTED) {
		rb_backup_read_progress(rb, &progress);
		welcome->id = cpu_to_le64(rb->id);
		welcome->generation = cpu_to_le64(rb->generation);
		welcome->sectors = cpu_to_le64(rb->ti->len);
		welcome->received = cpu_to_le64(progress.received);
		welcome->applied = cpu_to_le64(progress.applied);
		welcome->durable = cpu_to_le64(progress.durable);
	}
	rb_wire_header_init(&message.header, RB_WIRE_WELCOME,
			    sizeof(*welcome));
	return rb_net_send(sock, &message, sizeof(message), false);
}

static void rb_backup_attach(struct rb_device *rb, struct socket *sock,
			     const struct rb_wire_hello *hello)
{
	struct rb_backup *b = &rb->backup;

	rb_net_set_timeouts(sock, rb_fault_poll(rb, rb_tick(rb)));
	WRITE_ONCE(b->heard_at, jiffies);
	rb_conn_attach(&rb->conn, sock);
	spin_lock_irq(&rb->lock);
	rb->peer_id = le64_to_cpu(hello->id);
	rb->peer_generation = le64_to_cpu(hello->generation);
	rb->state = RB_CONNECTED;
	b->attached = true;
	spin_unlock_irq(&rb->lock);
	wake_up_all(&b->wait);
}

/* Returns 0 if the socket has become the session's. */
static int rb_backup_greet(struct rb_device *rb, struct socket *sock)
{
	struct rb_backup *b = &rb->backup;
	enum rb_wire_verdict verdict;
	struct rb_wire_hello hello;
	int ret;

	rb_net_set_timeouts(sock, msecs_to_jiffies(RB_HANDSHAKE_MS));
	ret = rb_backup_hear_hello(rb, sock, &hello);
	if (ret == -EPROTONOSUPPORT)
		rb_backup_say_welcome(rb, sock, RB_VERDICT_VERSION);
	if (ret)
		return ret;
	verdict = rb_backup_judge(rb, &hello);
	if (verdict == RB_VERDICT_ACCEPTED && READ_ONCE(b->attached)) {
		/* Make room, then look again at what the old one brought. */
		rb_conn_break(&rb->conn);
		wait_event_idle(b->wait, !READ_ONCE(b->attached) ||
					 rb_stopping(rb));
		verdict = rb_backup_judge(rb, &hello);
	}
	ret = rb_backup_say_welcome(rb, sock, verdict);
	if (ret)
		return ret;
	if (verdict != RB_VERDICT_ACCEPTED) {
		DMWARN_LIMIT("%s: primary %llu refused (verdict %d)",
			     rb_device_name(rb), le64_to_cpu(hello.id),
			     verdict);
		return -EACCES;
	}
	rb_backup_attach(rb, sock, &hello);
	return 0;
}

static int rb_backup_listen_thread(void *data)
{
	struct rb_device *rb = data;
	struct socket *sock;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		if (rb_net_accept(rb, rb->backup.listener, &sock))
			wait_event_idle_timeout(rb->backup.wait,
						rb_stopping(rb),
						msecs_to_jiffies(RB_RETRY_MS));
		else if (rb_backup_greet(rb, sock))
			sock_release(sock);
	}
	return 0;
}

/* Silence is no reason, see the top; it is a chance to catch up, though. */
static bool rb_backup_give_up(struct rb_device *rb)
{
	rb_fault_idle(rb);
	return false;
}

static int rb_backup_receive_op(struct rb_device *rb,
				const struct rb_wire_header *header)
{
	struct rb_backup *b = &rb->backup;
	struct rb_store *store = &rb->store;
	struct rb_wire_op wire;
	struct rb_op *op;
	int ret;

	ret = rb_wire_decode_op(header, b->received + 1, rb->ti->len, &wire);
	if (ret)
		return ret;
	if (!rb_op_room(store, wire.length))
		rb_fault_idle(rb);
	wait_event_idle(store->wait, rb_op_room(store, wire.length) ||
				     rb_stopping(rb) || rb_backup_failed(rb));
	if (rb_backup_failed(rb))
		return -EIO;
	if (rb_stopping(rb))
		return -ESHUTDOWN;

	op = rb_op_alloc(store, wire.type, wire.sector, wire.sectors,
			 REQ_OP_WRITE | REQ_SYNC);
	op->index = wire.index;
	op->flags = wire.flags;
	if (op->bio)
		ret = rb_net_recv_bio(rb, rb->conn.sock, op->bio, op->bytes,
				      rb_backup_give_up);
	if (!ret) {
		spin_lock_irq(&rb->lock);
		b->received = op->index;
		spin_unlock_irq(&rb->lock);
		rb_fault_submit(rb, op);
	}
	rb_op_put(op);
	return ret;
}

static int rb_backup_receive(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	struct rb_wire_header header;
	int ret;

	ret = rb_net_recv(rb, rb->conn.sock, &header, sizeof(header),
			  rb_backup_give_up);
	if (ret)
		return ret;
	WRITE_ONCE(b->heard_at, jiffies);
	if (header.type == RB_WIRE_PING) {
		ret = rb_wire_check_control(&header, RB_WIRE_PING, 0);
		rb_backup_want_report(rb);
		return ret;
	}
	WRITE_ONCE(b->receiving, true);
	ret = rb_backup_receive_op(rb, &header);
	WRITE_ONCE(b->receiving, false);
	return ret;
}

static void rb_backup_session(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	int ret;

	DMINFO("%s: connected to primary %llu", rb_device_name(rb),
	       rb->peer_id);
	dm_table_event(rb->ti->table);
	do {
		ret = rb_backup_receive(rb);
	} while (!ret);
	rb_fault_idle(rb);
	rb_conn_detach(&rb->conn);
	spin_lock_irq(&rb->lock);
	rb->state = b->received || rb_backup_failed(rb) ? RB_LOST :
							  RB_CONNECTING;
	b->attached = false;
	spin_unlock_irq(&rb->lock);
	wake_up_all(&b->wait);
	if (rb_stopping(rb))
		return;
	DMWARN("%s: primary %llu gone (error %d)", rb_device_name(rb),
	       rb->peer_id, ret);
	dm_table_event(rb->ti->table);
}

static int rb_backup_receive_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_backup *b = &rb->backup;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		wait_event_idle(b->wait, READ_ONCE(b->attached) ||
					 rb_stopping(rb));
		if (READ_ONCE(b->attached))
			rb_backup_session(rb);
	}
	return 0;
}

static void rb_backup_report(struct rb_device *rb)
{
	struct {
		struct rb_wire_header header;
		struct rb_wire_progress progress;
	} message = {};
	/* Before the indices: what failed has not been counted in them. */
	bool failed = rb_backup_failed(rb);
	struct rb_progress progress;
	int ret = 0;

	rb_backup_read_progress(rb, &progress);
	rb_wire_header_init(&message.header, RB_WIRE_PROGRESS,
			    sizeof(message.progress));
	message.progress.received = cpu_to_le64(progress.received);
	message.progress.applied = cpu_to_le64(progress.applied);
	message.progress.durable = cpu_to_le64(progress.durable);
	message.progress.failed = cpu_to_le32(failed);
	mutex_lock(&rb->conn.tx);
	if (rb->conn.sock)
		ret = rb_net_send(rb->conn.sock, &message, sizeof(message),
				  false);
	if (rb->conn.sock && !ret)
		WRITE_ONCE(rb->backup.reported, progress.durable);
	mutex_unlock(&rb->conn.tx);
	if (ret || failed) {
		rb_conn_break(&rb->conn);
		/* The receiver may wait for room that will never come. */
		wake_up_all(&rb->store.wait);
	}
}

static int rb_backup_report_thread(void *data)
{
	struct rb_device *rb = data;
	struct rb_backup *b = &rb->backup;

	rb_thread_enter();
	while (!rb_stopping(rb)) {
		if (signal_pending(current))
			flush_signals(current);
		wait_event_idle(b->report_wait, READ_ONCE(b->report) ||
						rb_stopping(rb));
		/* Cleared first: what happens from here on is for the next. */
		xchg(&b->report, false);
		rb_backup_report(rb);
	}
	return 0;
}

int rb_backup_start(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;
	int ret;

	init_waitqueue_head(&b->wait);
	init_waitqueue_head(&b->report_wait);
	ret = rb_store_init(&rb->store, rb->dev->bdev, &rb_backup_store_ops,
			    true);
	if (ret)
		return ret;
	ret = rb_net_listen(rb, &b->listener);
	if (ret) {
		rb->ti->error = "Cannot listen on the address and port";
		goto out_exit_store;
	}
	ret = rb_thread_start(&b->report_thread, rb_backup_report_thread, rb,
			      "report");
	if (!ret)
		ret = rb_thread_start(&b->receive_thread,
				      rb_backup_receive_thread, rb, "receive");
	if (!ret)
		ret = rb_thread_start(&b->listen_thread,
				      rb_backup_listen_thread, rb, "listen");
	if (ret)
		rb_backup_stop(rb);
	return ret;

out_exit_store:
	rb_store_exit(&rb->store);
	return ret;
}

void rb_backup_stop(struct rb_device *rb)
{
	struct rb_backup *b = &rb->backup;

	WRITE_ONCE(rb->stopping, true);
	rb_store_resume(&rb->store);
	wake_up_all(&b->wait);
	wake_up_all(&b->report_wait);
	rb_thread_stop(&b->listen_thread);
	rb_thread_stop(&b->receive_thread);
	rb_thread_stop(&b->report_thread);
	/* A session accepted too late for the receiver. */
	rb_conn_detach(&rb->conn);
	sock_release(b->listener);
	rb_store_exit(&rb->store);
}
