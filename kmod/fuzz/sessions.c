// SPDX-License-Identifier: GPL-2.0-only
/*
 * Properties of the handshake and of a session: who changes anything on the way
 * gets no session, and what is taken is what was sent, in its order, from its
 * beginning.
 */
#include "fuzz.h"

#define FUZZ_A 11
#define FUZZ_B 12

struct fuzz_pair {
	struct rb_keys *keys_a;
	struct rb_keys *keys_b;
	u8 nonce;
	struct rb_handshake a;
	struct rb_handshake b;
};

static const struct rb_hs_connector fuzz_connector = {
	.id = FUZZ_A, .incarnation = 1, .sectors = 4096, .issued = 7,
	.epoch = 3, .cluster = "cluster",
};

static const struct rb_hs_listener fuzz_listener = {
	.id = FUZZ_B, .incarnation = 2, .sectors = 4096, .received = 7,
	.applied = 6, .durable = 5, .epoch = 3, .data_epoch = 2,
	.cluster = "cluster",
};

/* What an attacker XORs over one message. */
struct fuzz_change {
	unsigned int message;
	const u8 *mask;
	size_t len;
};

static bool fuzz_alter(const struct fuzz_change *change, unsigned int message,
		       void *bytes, size_t len)
{
	bool altered = false;
	size_t i;

	if (change->message != message)
		return false;
	for (i = 0; i < len && i < change->len; i++) {
		((u8 *)bytes)[i] ^= change->mask[i];
		altered |= change->mask[i];
	}
	return altered;
}

/* Returns whether both sides agree; @altered: whether anything was changed. */
static bool fuzz_meet(struct fuzz_pair *p, const struct fuzz_change *change,
		      bool *altered)
{
	static const u8 nonce_a[RB_NONCE_BYTES] = "a";
	const u8 nonce_b[RB_NONCE_BYTES] = { 'b', p->nonce };
	struct rb_wire_challenge challenge;
	struct rb_wire_welcome welcome;
	struct rb_hs_connector connector;
	struct rb_hs_listener listener;
	struct rb_wire_hello hello;
	struct rb_wire_proof proof;
	u32 verdict;
	u64 id;

	*altered = false;
	rb_hs_hello(&p->a, p->keys_a, &fuzz_connector, FUZZ_B, nonce_a, &hello);
	*altered |= fuzz_alter(change, 0, &hello, sizeof(hello));
	if (rb_hs_challenge(&p->b, p->keys_b, FUZZ_B, &hello, nonce_b,
			    &challenge, &id, &verdict))
		return false;
	*altered |= fuzz_alter(change, 1, &challenge, sizeof(challenge));
	if (rb_hs_prove(&p->a, &challenge, &proof))
		return false;
	*altered |= fuzz_alter(change, 2, &proof, sizeof(proof));
	if (rb_hs_check_proof(&p->b, &proof, &connector))
		return false;
	/* A listener believes nothing of who has another key. */
	FUZZ_REQUIRE(!*altered && toy_keys_same(p->keys_a, p->keys_b));
	if (rb_hs_welcome(&p->b, RB_VERDICT_ACCEPTED, &fuzz_listener, &welcome))
		return false;
	*altered |= fuzz_alter(change, 3, &welcome, sizeof(welcome));
	if (rb_hs_finish(&p->a, &welcome, &verdict, &listener))
		return false;
	FUZZ_REQUIRE(connector.id == FUZZ_A && listener.id == FUZZ_B);
	FUZZ_REQUIRE(connector.epoch == 3 && listener.received == 7);
	return true;
}

void fuzz_handshake(const u8 *data, size_t size)
{
	const struct fuzz_handshake *input = (const void *)data;
	struct fuzz_change change;
	bool different, altered, agreed;
	struct rb_session session;
	struct fuzz_pair p = {};

	if (size < sizeof(*input))
		return;
	different = input->mode & 2;
	change.message = input->message % 4;
	change.mask = data + sizeof(*input);
	change.len = size - sizeof(*input);
	p.keys_a = toy_keys(input->mode & 1 ? 0 : 5);
	p.keys_b = toy_keys(different ? 6 : rb_keys_encrypted(p.keys_a) * 5);
	agreed = fuzz_meet(&p, &change, &altered);
	FUZZ_REQUIRE(agreed == (!altered && !different));
	if (!agreed)
		FUZZ_REQUIRE(rb_session_start(&session, &p.a) == -EPROTO);
	rb_keys_destroy(p.keys_a);
	rb_keys_destroy(p.keys_b);
}

/* ---- a stream -------------------------------------------------------- */

#define FUZZ_MESSAGES 8
#define FUZZ_CONTROL 48

struct fuzz_stream {
	struct rb_wire_header header[FUZZ_MESSAGES];
	u8 control[FUZZ_MESSAGES][FUZZ_CONTROL];
};

static void fuzz_sign_all(struct rb_session *from, struct fuzz_stream *s)
{
	unsigned int i;

	for (i = 0; i < FUZZ_MESSAGES; i++) {
		const struct kvec vec[2] = {
			{ .iov_base = s->control[i], .iov_len = 16 },
			{ .iov_base = s->control[i] + 16,
			  .iov_len = FUZZ_CONTROL - 16 },
		};

		/* All alike: only their places tell them apart. */
		memset(s->control[i], 0, FUZZ_CONTROL);
		rb_wire_encode_header(&s->header[i], RB_WIRE_BLOCK_REQ,
				      FUZZ_CONTROL, 0);
		FUZZ_REQUIRE(!rb_session_sign(from, &s->header[i], vec, 2));
	}
}

/*
 * A step: which message of which stream to hand over, and where to flip a bit
 * of it (0xffff: nowhere).
 */
struct fuzz_step {
	u8 message;
	u8 stream;
	u16 flip;
};

/* Streams: sent to b, sent by b, sent to b over another connection. */
#define FUZZ_STREAMS 3

static bool fuzz_hand_over(struct rb_session *to, struct fuzz_stream *s,
			   const struct fuzz_step *step, bool *changed)
{
	const unsigned int i = step->message % FUZZ_MESSAGES;
	const unsigned int at = step->flip / 8 % FUZZ_CONTROL;
	u8 *control = malloc(FUZZ_CONTROL);
	bool taken;

	if (!control)
		abort();
	memcpy(control, s->control[i], FUZZ_CONTROL);
	*changed = step->flip != 0xffff;
	if (*changed)
		control[at] ^= 1 << step->flip % 8;
	taken = !rb_session_check(to, &s->header[i], control);
	free(control);
	return taken;
}

static void fuzz_start(struct fuzz_pair *p, struct rb_session *a,
		       struct rb_session *b)
{
	const struct fuzz_change nothing = {};
	bool altered;

	FUZZ_REQUIRE(fuzz_meet(p, &nothing, &altered));
	FUZZ_REQUIRE(!rb_session_start(a, &p->a));
	FUZZ_REQUIRE(!rb_session_start(b, &p->b));
}

static void fuzz_steps(struct rb_session *b, struct fuzz_stream *streams,
		       const u8 *data, size_t size)
{
	unsigned int next = 0;
	bool broken = false;

	for (; size >= sizeof(struct fuzz_step);
	     data += sizeof(struct fuzz_step), size -= sizeof(struct fuzz_step)) {
		struct fuzz_step step;
		bool changed, taken, right;

		memcpy(&step, data, sizeof(step));
		step.stream %= FUZZ_STREAMS;
		taken = fuzz_hand_over(b, &streams[step.stream], &step,
				       &changed);
		right = !broken && !changed && !step.stream &&
			step.message % FUZZ_MESSAGES == next;
		FUZZ_REQUIRE(taken == right);
		next += taken;
		broken |= !taken;
	}
}

void fuzz_session(const u8 *data, size_t size)
{
	struct rb_session a, b, other_a, other_b;
	struct fuzz_stream streams[FUZZ_STREAMS];
	struct fuzz_pair p = {}, other;

	p.keys_a = toy_keys(5);
	p.keys_b = toy_keys(5);
	/* The same nodes over another connection: one nonce differs. */
	other = p;
	other.nonce = 1;
	fuzz_start(&p, &a, &b);
	fuzz_start(&other, &other_a, &other_b);
	fuzz_sign_all(&a, &streams[0]);
	fuzz_sign_all(&b, &streams[1]);
	fuzz_sign_all(&other_a, &streams[2]);
	fuzz_steps(&b, streams, data + 1, size - 1);
	rb_session_end(&a);
	rb_session_end(&b);
	rb_session_end(&other_a);
	rb_session_end(&other_b);
	rb_keys_destroy(p.keys_a);
	rb_keys_destroy(p.keys_b);
}
