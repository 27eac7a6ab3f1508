/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who offers what to the other files; included by dm-rollbaccine.h only.
 */
#ifndef DM_ROLLBACCINE_CALLS_H
#define DM_ROLLBACCINE_CALLS_H

const char *rb_device_name(const struct rb_device *rb);

/* -args */
int rb_parse_args(struct rb_device *rb, unsigned int argc, char **argv);
void rb_free_args(struct rb_device *rb);
size_t rb_print_args(const struct rb_device *rb, char *result, size_t maxlen);

/* -status */
void rb_status(struct dm_target *ti, status_type_t type,
	       unsigned int status_flags, char *result, unsigned int maxlen);

/* -node */
void rb_node_drop_log(struct rb_device *rb);
int rb_node_prepare(struct rb_device *rb);
int rb_node_open(struct rb_device *rb);
void rb_node_halt(struct rb_device *rb);
void rb_node_free(struct rb_device *rb);
void rb_node_evaluate(struct rb_device *rb);
void rb_node_fence(struct rb_device *rb, u32 epoch, u64 by);
void rb_node_tick(struct rb_device *rb);
void rb_node_wake(struct rb_device *rb);
unsigned int rb_node_synced(const struct rb_device *rb);
bool rb_node_acked(struct rb_device *rb, u64 index);
void rb_node_quorum_progress(struct rb_device *rb, struct rb_progress *ret,
			     u64 *sent);
int rb_node_add_epoch(struct rb_device *rb, const struct rb_epoch *epoch);
enum rb_wire_verdict rb_node_judge(struct rb_device *rb, struct rb_peer *peer,
				   const struct rb_hs_connector *hello);
void rb_node_describe(struct rb_device *rb, struct rb_hs_listener *ret);
bool rb_backup_silent(struct rb_device *rb);

/* -message */
int rb_message(struct dm_target *ti, unsigned int argc, char **argv,
	       char *result, unsigned int maxlen);

/* -lead */
void rb_forget_epochs(struct rb_device *rb);
int rb_lead(struct rb_device *rb, u32 number);
int rb_promote(struct rb_device *rb);
int rb_demote(struct rb_device *rb);

/* -heir */
int rb_heir_expect(struct rb_device *rb);
int rb_heir_start(struct rb_device *rb);
void rb_heir_unregister(struct rb_device *rb);

/* -verify */
void rb_verify_init(struct rb_device *rb);
int rb_verify_begin(struct rb_device *rb);

/* -write */
int rb_write_map(struct rb_device *rb, struct bio *bio);
void rb_write_started(struct rb_op *op);
void rb_write_done(struct rb_op *op);
void rb_write_synced(struct rb_op *op);
void rb_write_complete(struct rb_device *rb);
void rb_write_fail_waiters(struct rb_device *rb);
void rb_write_trim_log(struct rb_device *rb);
void rb_bio_end(struct rb_device *rb, struct bio *bio, blk_status_t status);
int rb_write_issue_thread(void *data);

/* -read */
int rb_read_map(struct rb_device *rb, struct bio *bio);

/* -block */
void rb_fetch_ask(struct rb_device *rb, struct rb_peer *peer,
		  struct rb_fetch *fetch);
int rb_fetch_wait(struct rb_device *rb, u64 block, const struct rb_tag *tag,
		  struct page *page, unsigned int *patience);
void rb_fetch_fail_all(struct rb_peer *peer);
void rb_fetch_tick(struct rb_peer *peer);
int rb_block_verify(struct rb_device *rb, u64 block, const struct rb_tag *tag,
		    struct page *page);
int rb_block_receive(struct rb_peer *peer, const struct rb_frame *frame);
int rb_disk_rw(struct rb_device *rb, u64 block, struct page *page,
	       blk_opf_t opf);

/* -store */
int rb_store_init(struct rb_store *store, struct rb_device *rb);
void rb_store_exit(struct rb_store *store);
int rb_op_pin(struct rb_op *op, u64 *lost);
void rb_op_unpin(struct rb_op *op);
void rb_store_submit(struct rb_store *store, struct rb_op *op, bool unsealed);
void rb_store_sealed(struct rb_op *op);
void rb_store_done(struct rb_op *op, blk_status_t status);
void rb_store_suspend(struct rb_store *store);
void rb_store_resume(struct rb_store *store);
void rb_store_wait_idle(struct rb_store *store);
void rb_store_count_error(struct rb_store *store);
void rb_store_fail_disk(struct rb_store *store);
void rb_store_reset(struct rb_store *store, u64 index);
bool rb_store_quiet(struct rb_store *store);

/* -slot */
void rb_slot_init(struct rb_slot *slot, u64 first, u64 blocks, bool shared,
		  void (*granted)(struct rb_slot *slot));
bool rb_slot_take_locked(struct rb_store *store, struct rb_slot *slot);
bool rb_slot_take(struct rb_store *store, struct rb_slot *slot);
void rb_slot_wait(struct rb_store *store, struct rb_waiting_slot *waiting,
		  u64 first, u64 blocks, bool shared);
void rb_slot_release_locked(struct rb_store *store, struct rb_slot *slot);
void rb_slot_release(struct rb_store *store, struct rb_slot *slot);
void rb_slot_ready_work(struct work_struct *work);

/* -op */
int rb_op_pools_init(struct rb_store *store);
void rb_op_pools_exit(struct rb_store *store);
bool rb_op_room(struct rb_store *store, u32 bytes);
struct rb_op *rb_op_alloc(struct rb_store *store, enum rb_wire_type type,
			  u64 sector, u32 sectors, blk_opf_t opf);
void rb_op_get(struct rb_op *op);
void rb_op_put(struct rb_op *op);
struct bio *rb_read_bio_alloc(struct rb_store *store, u64 block, u32 blocks,
			      bool wait);
void rb_bio_rewind(struct bio *bio, u32 blocks);
void rb_read_bio_free(struct rb_store *store, struct bio *bio);

/* -peer */
int rb_peer_init(struct rb_device *rb, struct rb_peer *peer);
void rb_peer_exit(struct rb_peer *peer);
int rb_peer_start(struct rb_peer *peer);
void rb_peer_stop(struct rb_peer *peer);
void rb_peer_attach(struct rb_peer *peer, struct socket *sock,
		    const struct rb_session *session, bool dialled);
void rb_peer_break(struct rb_peer *peer);
void rb_peer_detach(struct rb_peer *peer);
void rb_peer_kick(struct rb_peer *peer);
void rb_peer_send_now(struct rb_device *rb);
void rb_peer_post(struct rb_peer *peer, struct rb_letter *letter);
int rb_peer_send(struct rb_peer *peer, struct rb_wire_header *header,
		 const struct kvec *control, unsigned int count,
		 struct bio *data, struct page *page);
int rb_peer_hear(struct rb_peer *peer, struct rb_frame *frame,
		 bool (*give_up)(struct rb_peer *peer));
bool rb_peer_unread(struct rb_peer *peer);
struct rb_wire_limits rb_peer_limits(const struct rb_device *rb);

/* -dial */
void rb_dial(struct rb_peer *peer);
int rb_dial_ask(struct rb_peer *peer, u32 epoch, bool probe,
		struct rb_hs_listener *other);

/* -listen, -backup */
int rb_listen_init(struct rb_device *rb);
int rb_listen_thread(void *data);
void rb_listen_stop(struct rb_device *rb);
void rb_listen_exit(struct rb_device *rb);
void rb_backup_end_session(struct rb_device *rb);
void rb_backup_serve(struct rb_peer *peer);
void rb_backup_want_report(struct rb_device *rb, bool now);
int rb_backup_send_report(struct rb_peer *peer);
void rb_backup_read_progress(struct rb_device *rb, struct rb_progress *ret);
void rb_backup_apply(struct rb_device *rb);
void rb_backup_drop_queue(struct rb_device *rb);
void rb_backup_spoil(struct rb_device *rb);
void rb_backup_progress(struct rb_device *rb);
void rb_backup_report_timer(struct timer_list *timer);

/* -resync */
int rb_resync_begin(struct rb_peer *peer);
int rb_resync_hear_hashes(struct rb_peer *peer, const struct rb_frame *frame);
bool rb_resync_pending(const struct rb_peer *peer);
int rb_resync_send(struct rb_peer *peer);
void rb_resync_end(struct rb_peer *peer);

/* -fill */
int rb_resync_expect_epochs(struct rb_device *rb);
int rb_resync_send_hashes(struct rb_peer *peer);
int rb_resync_hear_begin(struct rb_peer *peer, const struct rb_frame *frame);
int rb_resync_hear_end(struct rb_peer *peer, const struct rb_frame *frame);
void rb_resync_adopt(struct rb_op *op);
int rb_resync_thread(void *data);
void rb_resync_wake(struct rb_device *rb);

/* -mend */
int rb_mend_init(struct rb_device *rb);
void rb_mend_exit(struct rb_device *rb);
int rb_mend_chunk(struct rb_device *rb, u64 chunk);
int rb_mend_receive(struct rb_peer *peer, const struct rb_frame *frame);

/* -net */
typedef bool (*rb_give_up_fn)(struct rb_peer *peer);
int rb_thread_start(struct task_struct **ret, int (*fn)(void *data),
		    void *data, u64 id, const char *what);
void rb_thread_stop(struct task_struct **thread);
void rb_thread_enter(void);
int rb_net_connect(struct rb_device *rb, __be32 addr, u16 port,
		   struct socket **ret);
int rb_net_listen(struct rb_device *rb, struct socket **ret);
int rb_net_accept(struct socket *listener, struct socket **ret);
int rb_net_send(struct socket *sock, struct kvec *vec, unsigned int count,
		size_t len, bool more);
int rb_net_send_bio(struct socket *sock, struct bio *bio, size_t len);
int rb_net_recv(struct rb_device *rb, struct socket *sock, void *buf,
		size_t len, rb_give_up_fn give_up, struct rb_peer *peer);
int rb_net_recv_until(struct rb_device *rb, struct socket *sock, void *buf,
		      size_t len, unsigned long deadline);
int rb_net_recv_bio(struct rb_device *rb, struct socket *sock, struct bio *bio,
		    size_t len, rb_give_up_fn give_up, struct rb_peer *peer);
void rb_net_set_timeouts(struct socket *sock, unsigned long timeout);
bool rb_net_unread(struct socket *sock);

#endif /* DM_ROLLBACCINE_CALLS_H */
