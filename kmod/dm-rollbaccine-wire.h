/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What travels between nodes: version 2 of the format.
 *
 * A connection has two sides.  The connector is the leader, or a node that
 * wants to become it; the listener is any other node.  A message is one fixed
 * header, header.control bytes that the header's MAC covers, and header.data
 * bytes of pages, which the tags in the control part cover.  Everything is
 * little-endian.
 *
 * The functions below are pure: they touch neither sockets nor devices nor
 * keys, allocate nothing, build in user space too (fuzz/), and believe nothing
 * they are given.  How to receive:
 *
 *	read the header; rb_wire_decode_header()	bounds of both lengths
 *	read frame.control bytes			<= RB_WIRE_MAX_CONTROL
 *	rb_session_check()				the MAC
 *	rb_wire_decode_<type>()				frame.data is exact now
 *	read frame.data bytes into pages, open them with their tags
 *
 * Control parts are decoded in place and have to be aligned to 8 bytes.
 */
#ifndef DM_ROLLBACCINE_WIRE_H
#define DM_ROLLBACCINE_WIRE_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include "shim.h"
#endif

#define RB_WIRE_MAGIC 0x32634252u /* "RBc2" */
#define RB_WIRE_VERSION 2

#define RB_SECTOR_SHIFT 9
#define RB_BLOCK_SHIFT 12
#define RB_BLOCK_BYTES 4096u /* the logical block of the target */
#define RB_BLOCK_SECTORS 8u
#define RB_MAX_DATA_SECTORS 2048u /* 1 MiB: the largest write */
#define RB_MAX_OP_BLOCKS (RB_MAX_DATA_SECTORS / RB_BLOCK_SECTORS)

#define RB_GCM_TAG_BYTES 16
#define RB_MAC_BYTES 16 /* of a message */
#define RB_PROOF_BYTES 32 /* of a handshake */
#define RB_NONCE_BYTES 32
#define RB_CLUSTER_BYTES 16
#define RB_SALT_BYTES 16
#define RB_HASH_BYTES 32

#define RB_CHUNK_TAGS 128u /* 4 KiB of tags */
#define RB_MAX_HASHES 128u /* in one message */
#define RB_MAX_EPOCHS_PER_MESSAGE 128u
#define RB_MAX_EPOCHS 8192u /* a node keeps keys for */
/* No more are begun; a node that joins may have others of its own. */
#define RB_MAX_EPOCHS_IN_USE (RB_MAX_EPOCHS / 2)

/* ---- the version and integrity of one block -------------------------- */

#define RB_TAG_EMPTY 0 /* reads as zeros; 0/0 as version: never written */
#define RB_TAG_DATA 1

/*
 * The same in memory, on the wire and in the hash tree.  (epoch, index, page)
 * is the version; @page is the number of the block within its operation.  Of an
 * EMPTY one @page and @tag are zero.  Without a key @tag is zero always.
 */
struct rb_tag {
	__le64 index;
	__le32 epoch;
	__le16 page;
	__u8 state;
	__u8 reserved;
	__u8 tag[RB_GCM_TAG_BYTES];
};

static_assert(sizeof(struct rb_tag) == 32);

/* ---- messages -------------------------------------------------------- */

enum rb_wire_type {
	/* Handshake, in this order; header.mac is zero, they have their own. */
	RB_WIRE_HELLO = 1, /* connector */
	RB_WIRE_CHALLENGE = 2, /* listener */
	RB_WIRE_PROOF = 3, /* connector */
	RB_WIRE_WELCOME = 4, /* listener; in place of CHALLENGE: a refusal */

	RB_WIRE_PING = 8, /* both: nothing else to say */
	RB_WIRE_PROGRESS = 9, /* listener: how far it has come */
	RB_WIRE_FENCED = 10, /* both: there is a higher epoch */

	RB_WIRE_WRITE = 16, /* connector; sectors * 512 bytes of data */
	RB_WIRE_DISCARD = 17, /* connector */
	RB_WIRE_ZEROES = 18, /* connector */
	RB_WIRE_FLUSH = 19, /* connector */

	RB_WIRE_EPOCHS = 32, /* connector */
	RB_WIRE_RESYNC_BEGIN = 33, /* connector */
	RB_WIRE_HASHES = 34, /* listener */
	RB_WIRE_TAGS = 35, /* connector; listener: those asked for */
	RB_WIRE_RESYNC_END = 36, /* connector */
	RB_WIRE_BLOCK_REQ = 37, /* both */
	RB_WIRE_BLOCK_DATA = 38, /* both; one block of data unless refused */
	RB_WIRE_TAGS_REQ = 39, /* connector; listener: has not got them */

	RB_WIRE_PROMISE_REQ = 48, /* connector */
	RB_WIRE_PROMISE = 49, /* listener */
};

/* Who sent what is being decoded. */
enum rb_wire_side { RB_CONNECTOR, RB_LISTENER };

struct rb_wire_header {
	__le32 magic;
	__le16 version;
	__u8 type;
	__u8 reserved;
	__le32 control; /* bytes that follow this header */
	__le32 data; /* bytes of pages that follow those */
	__u8 mac[RB_MAC_BYTES]; /* of all before it, and the control part */
};

static_assert(sizeof(struct rb_wire_header) == 32);

/* ---- handshake, see -session ----------------------------------------- */

#define RB_HS_ENCRYPTED 0x01 /* the node has a key */
#define RB_HS_EMPTY 0x02 /* its memory is empty: it trusts nothing it has */
#define RB_HS_CANDIDATE 0x04 /* HELLO only: wants promises, is no leader yet */
#define RB_HS_INSYNC 0x08 /* WELCOME only: misses nothing of what it received */
#define RB_HS_FAILED 0x10 /* WELCOME only: its disk has failed */
#define RB_HS_PROBE 0x20 /* HELLO of a candidate: would it be promised? */

struct rb_wire_hello {
	__le64 id;
	__le64 peer_id; /* whom it means to talk to */
	__le64 sectors; /* of data */
	__le64 issued; /* highest index */
	__le32 epoch; /* of its leadership, or the one a candidate asks for */
	__le32 flags;
	__le64 incarnation; /* drawn anew with every empty memory */
	__u8 cluster[RB_CLUSTER_BYTES];
	__u8 nonce[RB_NONCE_BYTES];
};

static_assert(sizeof(struct rb_wire_hello) == 96);

struct rb_wire_challenge {
	__le64 id;
	__le64 peer_id;
	__u8 nonce[RB_NONCE_BYTES];
};

static_assert(sizeof(struct rb_wire_challenge) == 48);

struct rb_wire_proof {
	__u8 proof[RB_PROOF_BYTES];
};

static_assert(sizeof(struct rb_wire_proof) == 32);

enum rb_wire_verdict {
	RB_VERDICT_ACCEPTED = 0,
	RB_VERDICT_BUSY = 1, /* serves another connector */
	RB_VERDICT_VERSION = 2, /* another wire format */
	RB_VERDICT_SIZE = 3, /* devices differ in size */
	RB_VERDICT_IDENTITY = 4, /* an id is zero, the other's own or unknown */
	RB_VERDICT_MODE = 5, /* one has a key, the other has none */
	RB_VERDICT_KEY = 6, /* the proof does not fit: another key */
	RB_VERDICT_CLUSTER = 7, /* another history */
	RB_VERDICT_EPOCH = 8, /* it has promised a higher epoch: welcome.epoch */
	RB_VERDICT_FAILED = 9, /* the listener's disk has failed */
	RB_VERDICT_COUNT,
};

/*
 * A refusal that comes before the proof was checked is not authenticated and
 * tells nothing but its verdict; all else in it is zero.
 */
struct rb_wire_welcome {
	__le32 verdict;
	__le32 flags;
	__le64 id;
	__le64 sectors;
	__le64 incarnation;
	__le64 received;
	__le64 applied;
	__le64 durable;
	__le32 epoch; /* the highest it has promised or followed */
	__le32 data_epoch; /* the highest it has data of */
	__u8 cluster[RB_CLUSTER_BYTES]; /* zero: none yet */
	__u8 proof[RB_PROOF_BYTES];
};

static_assert(sizeof(struct rb_wire_welcome) == 112);

/* ---- control parts --------------------------------------------------- */

/* The prefix up to and including this operation has to become durable. */
#define RB_WIRE_F_SYNC 0x01
/* Zeroes: keep the blocks allocated. */
#define RB_WIRE_F_NOUNMAP 0x02

/* WRITE, DISCARD, ZEROES, FLUSH.  Of a WRITE one GCM tag per block follows. */
struct rb_wire_op_control {
	__le64 index;
	__le64 sector;
	__le32 sectors;
	__le32 epoch;
	__le32 flags;
	__le32 reserved;
};

static_assert(sizeof(struct rb_wire_op_control) == 32);

#define RB_PROGRESS_INSYNC 0x01 /* misses nothing: counts for the quorum */
#define RB_PROGRESS_FAILED 0x02 /* its disk has failed, nothing will follow */

struct rb_wire_progress {
	__le64 received;
	__le64 applied;
	__le64 durable;
	__le64 missing; /* blocks whose tag it has and whose data it lacks */
	__le32 flags;
	__le32 steps; /* grows while it looks through its disk; may wrap */
};

static_assert(sizeof(struct rb_wire_progress) == 40);

/* FENCED, PROMISE_REQ */
struct rb_wire_epoch_control {
	__le32 epoch;
	__le32 reserved;
};

static_assert(sizeof(struct rb_wire_epoch_control) == 8);

#define RB_PROMISE_CONSISTENT 0x01 /* not recovering, not syncing */

struct rb_wire_promise {
	__le32 epoch; /* the one promised: nothing below it will be accepted */
	__le32 data_epoch; /* the epoch of the last operation received */
	__le64 received;
	__le32 flags;
	__le32 reserved;
};

static_assert(sizeof(struct rb_wire_promise) == 24);

#define RB_EPOCHS_LAST 0x01 /* no more of the list follows */

/* @count entries follow */
struct rb_wire_epochs {
	__le32 count;
	__le32 flags;
};

static_assert(sizeof(struct rb_wire_epochs) == 8);

struct rb_wire_epoch_entry {
	__le64 leader;
	__le32 epoch;
	__le32 reserved;
	__u8 salt[RB_SALT_BYTES];
};

static_assert(sizeof(struct rb_wire_epoch_entry) == 32);

#define RB_RESYNC_FULL 0x01 /* BEGIN: no hashes wanted, all tags will come */

/*
 * RESYNC_BEGIN: the next operation will be @index + 1.  RESYNC_END: tags of all
 * blocks are as they were after @index, and of what came in between.
 */
struct rb_wire_resync {
	__le64 index;
	__le32 epoch;
	__le32 flags;
};

static_assert(sizeof(struct rb_wire_resync) == 16);

/* @count hashes of RB_HASH_BYTES follow */
struct rb_wire_hashes {
	__le64 first; /* chunk */
	__le32 count;
	__le32 reserved;
};

static_assert(sizeof(struct rb_wire_hashes) == 16);

/* TAGS: RB_CHUNK_TAGS tags follow; past the end of the device all zero */
struct rb_wire_tags {
	__le64 chunk;
};

static_assert(sizeof(struct rb_wire_tags) == 8);

/* BLOCK_REQ, and BLOCK_DATA that is not refused */
#define RB_BLOCK_REFUSED 0x01 /* BLOCK_DATA: has not got it, no data follows */

struct rb_wire_block {
	__le64 block;
	__le32 flags;
	__le32 reserved;
	struct rb_tag tag;
};

static_assert(sizeof(struct rb_wire_block) == 48);

#define RB_WIRE_MAX_CONTROL						\
	(sizeof(struct rb_wire_op_control) +				\
	 RB_MAX_OP_BLOCKS * RB_GCM_TAG_BYTES)
static_assert(RB_WIRE_MAX_CONTROL >=
	      sizeof(struct rb_wire_tags) +
	      RB_CHUNK_TAGS * sizeof(struct rb_tag));
static_assert(RB_WIRE_MAX_CONTROL >=
	      sizeof(struct rb_wire_hashes) + RB_MAX_HASHES * RB_HASH_BYTES);
static_assert(RB_WIRE_MAX_CONTROL >=
	      sizeof(struct rb_wire_epochs) +
	      RB_MAX_EPOCHS_PER_MESSAGE * sizeof(struct rb_wire_epoch_entry));
#define RB_WIRE_MAX_DATA (RB_MAX_DATA_SECTORS << RB_SECTOR_SHIFT)

/* ---- in host order --------------------------------------------------- */

/* A header that was found good. */
struct rb_frame {
	enum rb_wire_type type;
	u32 control; /* bytes */
	u32 data; /* bytes */
};

/* What the decoders of a device may accept. */
struct rb_wire_limits {
	u64 sectors; /* of data; a multiple of RB_BLOCK_SECTORS, not 0 */
	u32 epoch; /* no version or operation may be of a later one */
};

/* An operation.  @tags is not an input of rb_wire_encode_op(). */
struct rb_wire_op {
	enum rb_wire_type type;
	u32 flags; /* RB_WIRE_F_* */
	u64 index;
	u64 sector;
	u32 sectors;
	u32 epoch;
	const u8 (*tags)[RB_GCM_TAG_BYTES]; /* one per block of a WRITE */
};

struct rb_progress {
	u64 received;
	u64 applied;
	u64 durable;
	u64 missing;
	u32 flags; /* RB_PROGRESS_* */
	u32 steps;
};

struct rb_promise {
	u32 epoch;
	u32 data_epoch;
	u64 received;
	u32 flags; /* RB_PROMISE_* */
};

/* One leadership. */
struct rb_epoch {
	u64 leader;
	u32 epoch; /* never 0 */
	u8 salt[RB_SALT_BYTES];
};

struct rb_epochs {
	u32 count;
	bool last;
	const struct rb_wire_epoch_entry *entries; /* checked */
};

struct rb_resync {
	u64 index;
	u32 epoch;
	u32 flags; /* RB_RESYNC_* */
};

struct rb_hashes {
	u64 first;
	u32 count;
	const u8 (*hashes)[RB_HASH_BYTES];
};

struct rb_tags_message {
	u64 chunk;
	const struct rb_tag *tags; /* RB_CHUNK_TAGS of them, checked */
};

struct rb_block_message {
	u64 block;
	bool refused;
	struct rb_tag tag; /* checked */
};

/* ---- functions; each returns 0 or -EBADMSG unless said otherwise ----- */

static inline bool rb_wire_is_op(unsigned int type)
{
	return type >= RB_WIRE_WRITE && type <= RB_WIRE_FLUSH;
}

/**
 * rb_wire_decode_header() - check and decode a header
 * @header: as received; its MAC is not looked at
 * @from: who sent it
 * @ret: filled if the header is good: the type is one this side may send, and
 *	both lengths are possible for it (not above RB_WIRE_MAX_CONTROL and
 *	RB_WIRE_MAX_DATA, and exact for a type of fixed length)
 *
 * Return: 0, -EBADMSG, or -EPROTONOSUPPORT for another version of the format.
 */
int rb_wire_decode_header(const struct rb_wire_header *header,
			  enum rb_wire_side from, struct rb_frame *ret);

/**
 * rb_wire_encode_header() - fill a header; the MAC is left zero
 * @header: filled
 * @type: of the message
 * @control: bytes of the control part
 * @data: bytes of pages
 *
 * The encoders below call it; for PING (0, 0) and the handshake (the size of
 * the struct, 0) it is all that is needed.
 */
void rb_wire_encode_header(struct rb_wire_header *header,
			   enum rb_wire_type type, u32 control, u32 data);

/*
 * Operations.  Encoding fills header and fixed part; the GCM tags of a WRITE,
 * rb_wire_op_blocks() of them, follow the fixed part, see rb_wire_put_tags().
 * It fails if a receiver would refuse the operation.  @expected is the only
 * index acceptable.
 */
int rb_wire_encode_op(struct rb_wire_header *header,
		      struct rb_wire_op_control *control,
		      const struct rb_wire_op *op);
int rb_wire_decode_op(const struct rb_frame *frame, const void *control,
		      const struct rb_wire_limits *limits, u64 expected,
		      struct rb_wire_op *ret);

static inline u32 rb_wire_op_blocks(const struct rb_wire_op *op)
{
	return op->sectors / RB_BLOCK_SECTORS;
}

/* Gather the GCM tags of @count blocks for the wire. */
void rb_wire_put_tags(u8 (*out)[RB_GCM_TAG_BYTES], const struct rb_tag *tags,
		      u32 count);
/* The tag that block number @page of the operation gets, of any type of it. */
void rb_wire_op_tag(const struct rb_wire_op *op, u32 page, struct rb_tag *ret);

/*
 * Progress.  @last is the previous report: no index may go backwards.
 * @issued: nothing past this index can have been received.
 */
void rb_wire_encode_progress(struct rb_wire_header *header,
			     struct rb_wire_progress *control,
			     const struct rb_progress *progress);
int rb_wire_decode_progress(const struct rb_frame *frame, const void *control,
			    const struct rb_wire_limits *limits,
			    const struct rb_progress *last, u64 issued,
			    struct rb_progress *ret);

/* FENCED and PROMISE_REQ, told apart by the type. */
void rb_wire_encode_epoch(struct rb_wire_header *header,
			  struct rb_wire_epoch_control *control,
			  enum rb_wire_type type, u32 epoch);
int rb_wire_decode_epoch(const struct rb_frame *frame, const void *control,
			 u32 *epoch);

void rb_wire_encode_promise(struct rb_wire_header *header,
			    struct rb_wire_promise *control,
			    const struct rb_promise *promise);
int rb_wire_decode_promise(const struct rb_frame *frame, const void *control,
			   struct rb_promise *ret);

/*
 * The list of leaderships, ascending, in as many messages as it takes.  Encode
 * writes @count entries after the fixed part: @control has room for
 * RB_WIRE_MAX_CONTROL bytes.
 */
void rb_wire_encode_epochs(struct rb_wire_header *header, void *control,
			   const struct rb_epoch *epochs, u32 count, bool last);
int rb_wire_decode_epochs(const struct rb_frame *frame, const void *control,
			  struct rb_epochs *ret);
void rb_wire_get_epoch(const struct rb_epochs *epochs, u32 i,
		       struct rb_epoch *ret);

/* RESYNC_BEGIN and RESYNC_END, told apart by the type. */
void rb_wire_encode_resync(struct rb_wire_header *header,
			   struct rb_wire_resync *control,
			   enum rb_wire_type type,
			   const struct rb_resync *resync);
int rb_wire_decode_resync(const struct rb_frame *frame, const void *control,
			  const struct rb_wire_limits *limits,
			  struct rb_resync *ret);

/* Fixed part only; @count hashes of RB_HASH_BYTES follow it. */
void rb_wire_encode_hashes(struct rb_wire_header *header,
			   struct rb_wire_hashes *control, u64 first,
			   u32 count);
int rb_wire_decode_hashes(const struct rb_frame *frame, const void *control,
			  const struct rb_wire_limits *limits,
			  struct rb_hashes *ret);

/* Fixed part only; RB_CHUNK_TAGS tags follow it. */
void rb_wire_encode_tags(struct rb_wire_header *header,
			 struct rb_wire_tags *control, u64 chunk);
int rb_wire_decode_tags(const struct rb_frame *frame, const void *control,
			const struct rb_wire_limits *limits,
			struct rb_tags_message *ret);

void rb_wire_encode_tags_req(struct rb_wire_header *header,
			     struct rb_wire_tags *control, u64 chunk);
int rb_wire_decode_tags_req(const struct rb_frame *frame, const void *control,
			    const struct rb_wire_limits *limits, u64 *chunk);

/* BLOCK_REQ and BLOCK_DATA, told apart by the type; tags are of state DATA. */
void rb_wire_encode_block(struct rb_wire_header *header,
			  struct rb_wire_block *control,
			  enum rb_wire_type type,
			  const struct rb_block_message *block);
int rb_wire_decode_block(const struct rb_frame *frame, const void *control,
			 const struct rb_wire_limits *limits,
			 struct rb_block_message *ret);

/* Whether a tag is one that a node of at most epoch @epoch could have. */
int rb_tag_check(const struct rb_tag *tag, u32 epoch);

/* Chunks of tags that @sectors of data need. */
static inline u64 rb_wire_chunks(u64 sectors)
{
	return (sectors / RB_BLOCK_SECTORS + RB_CHUNK_TAGS - 1) / RB_CHUNK_TAGS;
}

/* For logs: why a node was refused. */
const char *rb_wire_verdict_name(u32 verdict);
/* For logs: "WRITE"; "unknown" for what is no type. */
const char *rb_wire_type_name(unsigned int type);

#endif /* DM_ROLLBACCINE_WIRE_H */
