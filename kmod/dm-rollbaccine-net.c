// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads and TCP sockets.
 *
 * A thread blocked in a socket is released by a signal: rb_thread_stop() sends
 * one, and rb_device.stopping, set before, covers a thread that has not got as
 * far as accepting signals.  Another thread's connection is broken by shutting
 * its socket down, see struct rb_peer.
 */
#include <linux/in.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/tcp.h>

#include <net/sock.h>

#include "dm-rollbaccine.h"

/* Nobody waits for long: see -listen. */
#define RB_BACKLOG 64

int rb_thread_start(struct task_struct **ret, int (*fn)(void *data),
		    void *data, u64 id, const char *what)
{
	struct task_struct *task;

	task = kthread_create(fn, data, "rb_%s/%llu", what, id);
	if (IS_ERR(task))
		return PTR_ERR(task);
	/* It may end by itself once rb->stopping is set. */
	get_task_struct(task);
	*ret = task;
	wake_up_process(task);
	return 0;
}

/* The caller has set rb_device.stopping; NULL is fine. */
void rb_thread_stop(struct task_struct **thread)
{
	struct task_struct *task = *thread;

	if (!task)
		return;
	*thread = NULL;
	send_sig(SIGTERM, task, 1);
	kthread_stop(task);
	put_task_struct(task);
}

/* To be called first by every thread of a device. */
void rb_thread_enter(void)
{
	allow_signal(SIGTERM);
	/* Threads live as long as the process that would wait for the I/O. */
	memalloc_noio_save();
}

void rb_net_set_timeouts(struct socket *sock, unsigned long timeout)
{
	sock->sk->sk_rcvtimeo = timeout;
}

static void rb_net_tune(struct socket *sock)
{
	tcp_sock_set_nodelay(sock->sk);
	sock->sk->sk_allocation = GFP_NOIO;
	/* We may send while our caller is in the middle of sending itself. */
	rb_sock_own_frag(sock->sk);
}

static struct sockaddr_in rb_net_addr(__be32 addr, u16 port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = addr,
		.sin_port = htons(port),
	};
}

int rb_net_connect(struct rb_device *rb, __be32 to, u16 port,
		   struct socket **ret)
{
	struct sockaddr_in addr = rb_net_addr(to, port);
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP,
			       &sock);
	if (err)
		return err;
	rb_net_tune(sock);
	/* kernel_connect() waits as long as a send would. */
	sock->sk->sk_sndtimeo = rb_peer_timeout(rb);
	err = kernel_connect(sock, (struct sockaddr *)&addr, sizeof(addr), 0);
	if (err) {
		sock_release(sock);
		return err;
	}
	sock->sk->sk_sndtimeo = MAX_SCHEDULE_TIMEOUT;
	*ret = sock;
	return 0;
}

int rb_net_listen(struct rb_device *rb, struct socket **ret)
{
	struct sockaddr_in addr = rb_net_addr(rb->addr, rb->port);
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP,
			       &sock);
	if (err)
		return err;
	sock_set_reuseaddr(sock->sk);
	err = kernel_bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	if (!err)
		err = kernel_listen(sock, RB_BACKLOG);
	if (err) {
		sock_release(sock);
		return err;
	}
	*ret = sock;
	return 0;
}

int rb_net_accept(struct socket *listener, struct socket **ret)
{
	int err = kernel_accept(listener, ret, 0);

	if (!err)
		rb_net_tune(*ret);
	return err;
}

static int rb_net_send_iter(struct socket *sock, struct msghdr *msg)
{
	int sent;

	while (msg_data_left(msg)) {
		sent = sock_sendmsg(sock, msg);
		if (sent < 0)
			return sent;
	}
	return 0;
}

/* @more: another piece of the same message follows at once. */
int rb_net_send(struct socket *sock, struct kvec *vec, unsigned int count,
		size_t len, bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0),
	};

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, count, len);
	return rb_net_send_iter(sock, &msg);
}

/* The pages are copied: they may be freed when this returns. */
int rb_net_send_bio(struct socket *sock, struct bio *bio, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bio->bi_io_vec, bio->bi_vcnt,
		      len);
	return rb_net_send_iter(sock, &msg);
}

static int rb_net_recv_iter(struct rb_device *rb, struct socket *sock,
			    struct msghdr *msg, rb_give_up_fn give_up,
			    struct rb_peer *peer)
{
	int got;

	while (msg_data_left(msg)) {
		if (rb_stopping(rb))
			return -ESHUTDOWN;
		got = sock_recvmsg(sock, msg, 0);
		if (got == 0)
			return -ECONNRESET;
		if (got < 0 && got != -EAGAIN)
			return got;
		if (got == -EAGAIN && give_up(peer))
			return -ETIMEDOUT;
	}
	return 0;
}

/**
 * rb_net_recv() - receive exactly @len bytes
 * @rb: the device; when it stops, so does this
 * @sock: a socket with a receive timeout
 * @buf: where to
 * @len: how many
 * @give_up: asked after each timeout
 * @peer: what it is asked about; may be NULL if it does not mind
 *
 * Return: 0, -ECONNRESET at the end of the stream, -ETIMEDOUT if told to give
 * up, -ESHUTDOWN if the device stops, or another error of the socket.
 */
int rb_net_recv(struct rb_device *rb, struct socket *sock, void *buf,
		size_t len, rb_give_up_fn give_up, struct rb_peer *peer)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = {};

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, len);
	return rb_net_recv_iter(rb, sock, &msg, give_up, peer);
}

/**
 * rb_net_recv_until() - receive exactly @len bytes from somebody unknown
 * @rb: the device; when it stops, so does this
 * @sock: whose receive timeout is changed
 * @buf: where to
 * @len: how many
 * @deadline: in jiffies; how the bytes are spread over time does not matter
 *
 * Return: as rb_net_recv().
 */
int rb_net_recv_until(struct rb_device *rb, struct socket *sock, void *buf,
		      size_t len, unsigned long deadline)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = {};
	long left;
	int got;

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, len);
	while (msg_data_left(&msg)) {
		left = deadline - jiffies;
		if (rb_stopping(rb))
			return -ESHUTDOWN;
		if (left <= 0)
			return -ETIMEDOUT;
		rb_net_set_timeouts(sock, left);
		got = sock_recvmsg(sock, &msg, 0);
		if (got == 0)
			return -ECONNRESET;
		if (got < 0 && got != -EAGAIN)
			return got;
	}
	return 0;
}

int rb_net_recv_bio(struct rb_device *rb, struct socket *sock, struct bio *bio,
		    size_t len, rb_give_up_fn give_up, struct rb_peer *peer)
{
	struct msghdr msg = {};

	iov_iter_bvec(&msg.msg_iter, ITER_DEST, bio->bi_io_vec, bio->bi_vcnt,
		      len);
	return rb_net_recv_iter(rb, sock, &msg, give_up, peer);
}

/* Whether bytes have arrived that nobody has read. */
bool rb_net_unread(struct socket *sock)
{
	return !skb_queue_empty_lockless(&sock->sk->sk_receive_queue);
}
