// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the handshake and of message authentication.
 */
#include <linux/err.h>
#include <linux/slab.h>

#include "dm-rollbaccine-session.h"
#include "selftest.h"

#define RB_TEST_A 11u /* connects */
#define RB_TEST_B 12u /* listens */

/* One run of the handshake, every message of it at hand to be altered. */
struct rb_hs_test {
	struct rb_keys *keys_a;
	struct rb_keys *keys_b;
	struct rb_handshake a;
	struct rb_handshake b;
	struct rb_wire_hello hello;
	struct rb_wire_challenge challenge;
	struct rb_wire_proof proof;
	struct rb_wire_welcome welcome;
	struct rb_hs_connector connector;
	struct rb_hs_listener listener;
	u32 verdict;
};

static const struct rb_hs_connector rb_test_connector = {
	.id = RB_TEST_A, .incarnation = 21, .sectors = 4096, .issued = 99,
	.epoch = 3, .flags = RB_HS_CANDIDATE, .cluster = "a cluster",
};

static const struct rb_hs_listener rb_test_listener = {
	.id = RB_TEST_B, .incarnation = 22, .sectors = 4096, .received = 30,
	.applied = 20, .durable = 10, .epoch = 2, .data_epoch = 1,
	.flags = RB_HS_INSYNC, .cluster = "a cluster",
};

static struct rb_keys *rb_test_master(u8 fill)
{
	u8 master[RB_MIN_KEY_BYTES];

	if (!fill)
		return rb_keys_create(NULL, 0);
	memset(master, fill, sizeof(master));
	return rb_keys_create(master, sizeof(master));
}

/* Each run has nonces of its own. */
static void rb_test_nonce(u8 *nonce)
{
	static u8 count;

	memset(nonce, ++count, RB_NONCE_BYTES);
}

static void rb_test_hello(struct rb_hs_test *t, u64 peer)
{
	u8 nonce[RB_NONCE_BYTES];

	rb_test_nonce(nonce);
	rb_hs_hello(&t->a, t->keys_a, &rb_test_connector, peer, nonce,
		    &t->hello);
}

static int rb_test_challenge(struct rb_hs_test *t)
{
	u8 nonce[RB_NONCE_BYTES];
	u64 id;

	rb_test_nonce(nonce);
	return rb_hs_challenge(&t->b, t->keys_b, RB_TEST_B, &t->hello, nonce,
			       &t->challenge, &id, &t->verdict);
}

static int rb_test_prove(struct rb_hs_test *t)
{
	return rb_hs_prove(&t->a, &t->challenge, &t->proof);
}

static int rb_test_check(struct rb_hs_test *t)
{
	return rb_hs_check_proof(&t->b, &t->proof, &t->connector);
}

static int rb_test_welcome(struct rb_hs_test *t, enum rb_wire_verdict verdict)
{
	return rb_hs_welcome(&t->b, verdict, &rb_test_listener, &t->welcome);
}

static int rb_test_finish(struct rb_hs_test *t)
{
	return rb_hs_finish(&t->a, &t->welcome, &t->verdict, &t->listener);
}

/* All steps up to and including the proof's check. */
static int rb_test_introduce(struct rb_hs_test *t)
{
	rb_test_hello(t, RB_TEST_B);
	RB_EXPECT(!rb_test_challenge(t));
	RB_EXPECT(!rb_test_prove(t));
	return rb_test_check(t);
}

static int rb_test_meet(struct rb_hs_test *t)
{
	RB_EXPECT(!rb_test_introduce(t));
	RB_EXPECT(!rb_test_welcome(t, RB_VERDICT_ACCEPTED));
	return rb_test_finish(t);
}

static bool rb_test_no_session(const struct rb_handshake *hs)
{
	struct rb_session session;

	return rb_session_start(&session, hs) == -EPROTO && !session.tx.mac &&
	       !session.rx.mac;
}

/* ---- handshake ------------------------------------------------------- */

static int rb_test_good(struct rb_hs_test *t)
{
	const struct rb_hs_connector *c = &t->connector;
	const struct rb_hs_listener *l = &t->listener;

	RB_EXPECT(!rb_test_meet(t));
	RB_EXPECT(t->verdict == RB_VERDICT_ACCEPTED);
	RB_EXPECT(c->id == RB_TEST_A && c->incarnation == 21 &&
		  c->sectors == 4096 && c->issued == 99 && c->epoch == 3);
	RB_EXPECT((c->flags & ~RB_HS_ENCRYPTED) == RB_HS_CANDIDATE);
	RB_EXPECT(!memcmp(c->cluster, rb_test_connector.cluster,
			  RB_CLUSTER_BYTES));
	RB_EXPECT(l->id == RB_TEST_B && l->incarnation == 22 &&
		  l->sectors == 4096 && l->received == 30 &&
		  l->applied == 20 && l->durable == 10 && l->epoch == 2 &&
		  l->data_epoch == 1);
	RB_EXPECT((l->flags & ~RB_HS_ENCRYPTED) == RB_HS_INSYNC);
	return 0;
}

static int rb_test_wrong_key(struct rb_hs_test *t)
{
	struct rb_keys *other = rb_test_master(2);
	struct rb_keys *right = t->keys_b;
	int ret;

	RB_EXPECT(!IS_ERR(other));
	t->keys_b = other;
	ret = rb_test_introduce(t);
	t->keys_b = right;
	RB_EXPECT(ret == -EKEYREJECTED);
	RB_EXPECT(!t->connector.id && rb_test_no_session(&t->b));
	RB_EXPECT(rb_test_welcome(t, RB_VERDICT_ACCEPTED) == -EPROTO);
	rb_hs_refuse(RB_VERDICT_KEY, &t->welcome);
	RB_EXPECT(rb_test_finish(t) == -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_KEY && !t->listener.id);
	RB_EXPECT(rb_test_no_session(&t->a));
	rb_keys_destroy(other);
	return 0;
}

/* A listener without the key must not be believed, whatever it says. */
static int rb_test_impostor(struct rb_hs_test *t)
{
	rb_test_hello(t, RB_TEST_B);
	RB_EXPECT(!rb_test_challenge(t));
	RB_EXPECT(!rb_test_prove(t));
	rb_hs_refuse(RB_VERDICT_ACCEPTED, &t->welcome);
	t->welcome.id = cpu_to_le64(RB_TEST_B);
	t->welcome.flags = t->hello.flags & cpu_to_le32(RB_HS_ENCRYPTED);
	/* The connector's own proof sent back. */
	memcpy(t->welcome.proof, t->proof.proof, RB_PROOF_BYTES);
	RB_EXPECT(rb_test_finish(t) == -EKEYREJECTED);
	RB_EXPECT(rb_test_no_session(&t->a));
	/* One chance only. */
	RB_EXPECT(!rb_test_check(t));
	RB_EXPECT(!rb_test_welcome(t, RB_VERDICT_ACCEPTED));
	RB_EXPECT(rb_test_finish(t) == -EBADMSG);
	/* An unproven refusal that claims to know of a higher epoch. */
	RB_EXPECT(!rb_test_introduce(t));
	rb_hs_refuse(RB_VERDICT_EPOCH, &t->welcome);
	t->welcome.epoch = cpu_to_le32(1000);
	RB_EXPECT(rb_test_finish(t) == -EKEYREJECTED && !t->listener.epoch);
	return 0;
}

static int rb_test_identities(struct rb_hs_test *t)
{
	const __le64 good = cpu_to_le64(RB_TEST_A);

	/* Meant for someone else. */
	rb_test_hello(t, RB_TEST_B + 1);
	RB_EXPECT(rb_test_challenge(t) == -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_IDENTITY);
	/* The listener's own id, and none at all. */
	rb_test_hello(t, RB_TEST_B);
	t->hello.id = cpu_to_le64(RB_TEST_B);
	RB_EXPECT(rb_test_challenge(t) == -ECONNREFUSED);
	t->hello.id = 0;
	RB_EXPECT(rb_test_challenge(t) == -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_IDENTITY);
	/* An id that the proof does not cover. */
	t->hello.id = cpu_to_le64(RB_TEST_A + 5);
	RB_EXPECT(!rb_test_challenge(t));
	t->challenge.peer_id = good;
	RB_EXPECT(!rb_test_prove(t));
	RB_EXPECT(rb_test_check(t) == -EKEYREJECTED);
	/* Someone else answers, or it is for someone else. */
	rb_test_hello(t, RB_TEST_B);
	RB_EXPECT(!rb_test_challenge(t));
	t->challenge.id = cpu_to_le64(RB_TEST_B + 1);
	RB_EXPECT(rb_test_prove(t) == -EREMCHG);
	t->challenge.id = cpu_to_le64(RB_TEST_B);
	t->challenge.peer_id = cpu_to_le64(RB_TEST_A + 1);
	RB_EXPECT(rb_test_prove(t) == -EREMCHG);
	return 0;
}

static int rb_test_malformed(struct rb_hs_test *t)
{
	const __le32 flags = t->hello.flags;

	rb_test_hello(t, RB_TEST_B);
	t->hello.flags = flags | cpu_to_le32(1 << 20);
	RB_EXPECT(rb_test_challenge(t) == -EBADMSG);
	rb_test_hello(t, RB_TEST_B);
	t->hello.epoch = 0;
	RB_EXPECT(rb_test_challenge(t) == -EBADMSG);
	/* One has a key and the other has none. */
	rb_test_hello(t, RB_TEST_B);
	t->hello.flags ^= cpu_to_le32(RB_HS_ENCRYPTED);
	RB_EXPECT(rb_test_challenge(t) == -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_MODE);
	RB_EXPECT(rb_test_check(t) == -EBADMSG);
	/* The connector's nonce sent back to it. */
	rb_test_hello(t, RB_TEST_B);
	RB_EXPECT(!rb_test_challenge(t));
	memcpy(t->challenge.nonce, t->hello.nonce, RB_NONCE_BYTES);
	RB_EXPECT(rb_test_prove(t) == -EBADMSG);
	/* Out of turn. */
	RB_EXPECT(rb_test_welcome(t, RB_VERDICT_ACCEPTED) == -EPROTO);
	RB_EXPECT(rb_test_finish(t) == -EBADMSG);
	RB_EXPECT(rb_test_no_session(&t->a) && rb_test_no_session(&t->b));
	return 0;
}

static int rb_test_refusals(struct rb_hs_test *t)
{
	/* Before the proof: a verdict and nothing else. */
	rb_test_hello(t, RB_TEST_B);
	rb_hs_refuse(RB_VERDICT_VERSION, &t->welcome);
	RB_EXPECT(rb_hs_refusal(&t->a, &t->welcome, &t->verdict) ==
		  -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_VERSION);
	RB_EXPECT(rb_test_prove(t) == -EBADMSG);
	rb_test_hello(t, RB_TEST_B);
	rb_hs_refuse(RB_VERDICT_ACCEPTED, &t->welcome);
	RB_EXPECT(rb_hs_refusal(&t->a, &t->welcome, &t->verdict) == -EBADMSG);
	/* After it: who refuses is heard. */
	RB_EXPECT(!rb_test_introduce(t));
	RB_EXPECT(!rb_test_welcome(t, RB_VERDICT_EPOCH));
	RB_EXPECT(rb_test_finish(t) == -ECONNREFUSED);
	RB_EXPECT(t->verdict == RB_VERDICT_EPOCH && t->listener.epoch == 2);
	RB_EXPECT(rb_test_no_session(&t->a) && rb_test_no_session(&t->b));
	return 0;
}

/* Every bit of what the proofs cover; with checksums one bit is found too. */
static int rb_test_hello_bits(struct rb_hs_test *t)
{
	unsigned int i, at;

	for (i = 0; i < sizeof(t->hello) * 8; i += 11) {
		rb_test_hello(t, RB_TEST_B);
		/* As if altered on the way. */
		((u8 *)&t->hello)[i / 8] ^= 1 << (i % 8);
		if (rb_test_challenge(t))
			continue;
		at = offsetof(struct rb_wire_challenge, peer_id);
		memcpy((u8 *)&t->challenge + at, &t->a.hello.id, 8);
		RB_EXPECT(!rb_test_prove(t));
		RB_EXPECT(rb_test_check(t) == -EKEYREJECTED);
	}
	return 0;
}

static int rb_test_other_bits(struct rb_hs_test *t)
{
	unsigned int i;

	for (i = 128; i < sizeof(t->challenge) * 8; i += 11) {
		rb_test_hello(t, RB_TEST_B);
		RB_EXPECT(!rb_test_challenge(t));
		((u8 *)&t->challenge)[i / 8] ^= 1 << (i % 8);
		RB_EXPECT(!rb_test_prove(t));
		RB_EXPECT(rb_test_check(t) == -EKEYREJECTED);
	}
	for (i = 0; i < (rb_keys_encrypted(t->keys_a) ? 256 : 32); i += 5) {
		rb_test_hello(t, RB_TEST_B);
		RB_EXPECT(!rb_test_challenge(t));
		RB_EXPECT(!rb_test_prove(t));
		t->proof.proof[i / 8] ^= 1 << (i % 8);
		RB_EXPECT(rb_test_check(t) == -EKEYREJECTED);
	}
	for (i = 3; i < offsetof(struct rb_wire_welcome, proof) * 8; i += 11) {
		RB_EXPECT(!rb_test_introduce(t));
		RB_EXPECT(!rb_test_welcome(t, RB_VERDICT_ACCEPTED));
		((u8 *)&t->welcome)[i / 8] ^= 1 << (i % 8);
		RB_EXPECT(rb_test_finish(t) < 0);
		RB_EXPECT(!t->listener.id && rb_test_no_session(&t->a));
	}
	return 0;
}

/* Messages of an earlier, good run are of no use in a later one. */
static int rb_test_replayed(struct rb_hs_test *t)
{
	struct rb_wire_welcome welcome;
	struct rb_wire_proof proof;
	struct rb_wire_hello hello;

	RB_EXPECT(!rb_test_meet(t));
	hello = t->hello;
	proof = t->proof;
	welcome = t->welcome;
	/* To the listener: same HELLO, same PROOF. */
	t->hello = hello;
	RB_EXPECT(!rb_test_challenge(t));
	t->proof = proof;
	RB_EXPECT(rb_test_check(t) == -EKEYREJECTED);
	/* To the connector: same WELCOME. */
	RB_EXPECT(!rb_test_introduce(t));
	t->welcome = welcome;
	RB_EXPECT(rb_test_finish(t) == -EKEYREJECTED);
	return 0;
}

/* ---- session --------------------------------------------------------- */

struct rb_wire_message {
	struct rb_wire_header header;
	u8 control[64];
};

struct rb_session_test {
	struct rb_session a;
	struct rb_session b;
	struct rb_wire_message m[4];
};

static int rb_test_connect(struct rb_hs_test *t, struct rb_session *a,
			   struct rb_session *b)
{
	RB_EXPECT(!rb_test_meet(t));
	RB_EXPECT(!rb_session_start(a, &t->a));
	RB_EXPECT(!rb_session_start(b, &t->b));
	return 0;
}

/* In two pieces, as a WRITE and its tags are. */
static int rb_test_sign(struct rb_session *s, struct rb_wire_message *m,
			u8 fill)
{
	const struct kvec vec[] = {
		{ .iov_base = m->control, .iov_len = 24 },
		{ .iov_base = m->control + 24, .iov_len = 40 },
	};

	rb_wire_encode_header(&m->header, RB_WIRE_WRITE, sizeof(m->control), 0);
	memset(m->control, fill, sizeof(m->control));
	return rb_session_sign(s, &m->header, vec, 2);
}

static int rb_test_take(struct rb_session *s, const struct rb_wire_message *m)
{
	return rb_session_check(s, &m->header, m->control);
}

static int rb_test_flow(struct rb_session_test *s)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		RB_EXPECT(!rb_test_sign(&s->a, &s->m[i], 1));
	/* Equal messages never look equal. */
	RB_EXPECT(memcmp(s->m[0].header.mac, s->m[1].header.mac, RB_MAC_BYTES));
	for (i = 0; i < 4; i++)
		RB_EXPECT(!rb_test_take(&s->b, &s->m[i]));
	/* The other direction is on its own. */
	for (i = 0; i < 4; i++)
		RB_EXPECT(!rb_test_sign(&s->b, &s->m[i], 2));
	for (i = 0; i < 4; i++)
		RB_EXPECT(!rb_test_take(&s->a, &s->m[i]));
	return 0;
}

static int rb_test_flow_replay(struct rb_session_test *s)
{
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[0], 1));
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[1], 2));
	RB_EXPECT(!rb_test_take(&s->b, &s->m[0]));
	RB_EXPECT(rb_test_take(&s->b, &s->m[0]) == -EBADMSG);
	/* Nothing is taken after that, not even what would be right. */
	RB_EXPECT(rb_test_take(&s->b, &s->m[1]) == -EBADMSG);
	return 0;
}

static int rb_test_flow_reorder(struct rb_session_test *s)
{
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[0], 1));
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[1], 2));
	RB_EXPECT(rb_test_take(&s->b, &s->m[1]) == -EBADMSG);
	return 0;
}

static int rb_test_flow_reflect(struct rb_session_test *s)
{
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[0], 1));
	RB_EXPECT(rb_test_take(&s->a, &s->m[0]) == -EBADMSG);
	return 0;
}

static int rb_test_flow_truncate(struct rb_session_test *s)
{
	RB_EXPECT(!rb_test_sign(&s->a, &s->m[0], 1));
	s->m[0].header.control = cpu_to_le32(sizeof(s->m[0].control) - 8);
	RB_EXPECT(rb_test_take(&s->b, &s->m[0]) == -EBADMSG);
	return 0;
}

static int rb_test_flow_bits(struct rb_hs_test *t, struct rb_session_test *s)
{
	const unsigned int bits = sizeof(struct rb_wire_message) * 8;
	const unsigned int mac = offsetof(struct rb_wire_header, mac) * 8;
	unsigned int i;
	int ret;

	for (i = 0; i < bits; i += 13) {
		/* A longer control part would be read from beyond it. */
		if (i / 32 == offsetof(struct rb_wire_header, control) / 4)
			continue;
		/* Of a checksum only the first bytes mean anything. */
		if (i >= mac + 32 && i < mac + RB_MAC_BYTES * 8 &&
		    !rb_keys_encrypted(t->keys_a))
			continue;
		rb_session_end(&s->a);
		rb_session_end(&s->b);
		ret = rb_test_connect(t, &s->a, &s->b);
		if (ret)
			return ret;
		RB_EXPECT(!rb_test_sign(&s->a, &s->m[0], 1));
		((u8 *)&s->m[0])[i / 8] ^= 1 << (i % 8);
		RB_EXPECT(rb_test_take(&s->b, &s->m[0]) == -EBADMSG);
	}
	return 0;
}

/* A message of one connection in the same place of another one. */
static int rb_test_flow_splice(struct rb_hs_test *t, struct rb_session_test *s)
{
	struct rb_session a, b;
	int ret;

	ret = rb_test_connect(t, &a, &b);
	if (ret)
		return ret;
	ret = rb_test_sign(&a, &s->m[0], 1);
	rb_session_end(&a);
	rb_session_end(&b);
	RB_EXPECT(!ret);
	RB_EXPECT(rb_test_take(&s->b, &s->m[0]) == -EBADMSG);
	return 0;
}

static int rb_test_flow_ended(struct rb_session_test *s)
{
	rb_session_end(&s->a);
	rb_session_end(&s->a);
	RB_EXPECT(rb_test_sign(&s->a, &s->m[0], 1) == -EBADMSG);
	RB_EXPECT(rb_test_take(&s->a, &s->m[0]) == -EBADMSG);
	return 0;
}

static int rb_test_one_flow(struct rb_hs_test *t, struct rb_session_test *s,
			    unsigned int i)
{
	switch (i) {
	case 0:
		return rb_test_flow(s);
	case 1:
		return rb_test_flow_replay(s);
	case 2:
		return rb_test_flow_reorder(s);
	case 3:
		return rb_test_flow_truncate(s);
	case 4:
		return rb_test_flow_bits(t, s);
	case 5:
		return rb_test_flow_ended(s);
	/* These need a key: a checksum is the same for all. */
	case 6:
		return rb_test_flow_reflect(s);
	default:
		return rb_test_flow_splice(t, s);
	}
}

static int rb_test_flows(struct rb_hs_test *t)
{
	const unsigned int count = rb_keys_encrypted(t->keys_a) ? 8 : 6;
	struct rb_session_test *s = kzalloc(sizeof(*s), GFP_KERNEL);
	unsigned int i;
	int ret = s ? 0 : -ENOMEM;

	for (i = 0; i < count && !ret; i++) {
		ret = rb_test_connect(t, &s->a, &s->b);
		if (!ret)
			ret = rb_test_one_flow(t, s, i);
		rb_session_end(&s->a);
		rb_session_end(&s->b);
	}
	kfree(s);
	return ret;
}

static int rb_test_all(struct rb_hs_test *t)
{
	static int (*const tests[])(struct rb_hs_test *t) = {
		rb_test_good, rb_test_identities, rb_test_malformed,
		rb_test_refusals, rb_test_hello_bits, rb_test_other_bits,
		rb_test_flows,
		/* These need a key. */
		rb_test_wrong_key, rb_test_impostor, rb_test_replayed,
	};
	unsigned int count = ARRAY_SIZE(tests);
	unsigned int i;
	int ret = 0;

	if (!rb_keys_encrypted(t->keys_a))
		count -= 3;
	for (i = 0; i < count && !ret; i++)
		ret = tests[i](t);
	return ret;
}

static int rb_test_both(struct rb_hs_test *t, u8 fill)
{
	int ret = 0;

	t->keys_a = rb_test_master(fill);
	t->keys_b = rb_test_master(fill);
	if (IS_ERR(t->keys_a) || IS_ERR(t->keys_b))
		ret = -ENOMEM;
	if (!ret)
		ret = rb_test_all(t);
	if (!IS_ERR(t->keys_a))
		rb_keys_destroy(t->keys_a);
	if (!IS_ERR(t->keys_b))
		rb_keys_destroy(t->keys_b);
	return ret;
}

int rb_selftest_session(void)
{
	struct rb_hs_test *t = kzalloc(sizeof(*t), GFP_KERNEL);
	int ret;

	if (!t)
		return -ENOMEM;
	ret = rb_test_both(t, 1);
	if (!ret)
		ret = rb_test_both(t, 0);
	kfree(t);
	return ret;
}
