/* The log's rules (design, section 2): one history, each request decided at most once, no answer that the log
   contradicts. Two controllers, an api with a client that asks again, and whoever reads the log later.

   What stands for what
     a record is its number: claim * records_max + place in the claim; 0 is the genesis. The number stands for the hash:
     claims are fresh, so it is unique. prev, at_ms, the decision and the digest (the state after it) are kept beside it.
     A session of a producer is one claim's: records of it are written in their order, whenever, or a tail of them never,
     also long after the controller gave up (`written` runs after `sent`). A paused controller is one that takes no step.
     A controller that is killed and started again differs from one that ended its claim in nothing that others see.
     There are two requests under one client key, or one without a key that is written twice.

   Bounds: -DFAILS appends with an unknown outcome, -DELECTIONS changes of whom the group elects (and claims made while
   the other still thinks that it leads: in the end the backoff outlasts it), -DRESTS producers that the broker forgot,
   -DTIMES values of log time, pipeline_max records of a claim in flight. Claims and records are not bounded otherwise:
   running out of numbers is an error. -DKEYED=0 or 1: only without, or only with a key.

   Rules, each a switch (-DWITHOUT_name), with where the code keeps it:
     chain         a record counts only if its prev is the head: events/chain.cc judge
     broken        what fits nowhere ends the reading, it is not skipped: events/chain.cc judge
     seen          the hashes of void records are kept with the head: SeenHashes, projections/store.h add_void
     claim         a takeover begins with ControllerStarted: controlplane/controller.cc claim
     read_back     nothing is decided before the claim is read back: Controller::confirm
     counts        only records of the last claim count: events/chain.cc judge_next (a second lock, see below)
     deposed       who reads another's record, or an own one that is void, ends its claim: Controller::take_entry
     ends          an append with an unknown outcome ends the claim: Controller::step, depose
     undo          a claim that ends takes back what was not read back: Controller::depose, State::roll_back
     gapless       after a failed append nothing later of that session is written: events/log.h Producer
     rested        after a long pause one record goes alone and is read back: events/kafka_producer.cc Lane
     positions     a new claim reads on at the position that is in the state: Controller::start_leading
     decided       an id that was decided changes nothing: Controller::decide_intent
     expiry        an expired intent is refused: controlplane/decide/decide.cc
     log_time      at_ms never decreases: Controller::open_draft, judge_next
     later         503 only after a later at_ms was folded without a decision: projections/waiters.cc publish
     key           a client's key gives its first answer again: Controller::known_key
     key_first     the key is looked up before a 503: controlplane/api/exchange.cc undone

   A second lock is a rule that may be left out as long as the others are kept; `check` searches that to the end, too:
   who reads another's claim appends nothing more under its own, so no record of a former claim can extend a later one. With
   `deposed` left out as well one does.

   Properties
     one history   every reader folds the same or says that the log is broken, also one that starts at any record, and
                   one to which one entry became unreadable; no digest differs
     one leads     while a claim leads, no decision of a former one counts
     once          no request is done twice
     answers       who was told "done" or "not done" was told what the log says, for ever. "Not done" is said of a request
                   id. Of its key it holds as long as later requests expire later: two apis whose clocks differ can say
                   it of the second request, and the first is done after that (-DTIMES=3 with such an assertion).
     settle        checked as: no cycle (`-l` with no progress label: every run ends) and at each end the elected
                   controller leads, everything is read, all intents are decided, nobody waits. So every way settles. */

#ifndef FAILS
#define FAILS 1
#endif
#ifndef ELECTIONS
#define ELECTIONS 1
#endif
#ifndef RESTS
#define RESTS 0
#endif
#ifndef TIMES
#define TIMES 2
#endif

#if FAILS && ELECTIONS
#define claims_max 10
#else
#define claims_max 7
#endif
#define records_max 6
#define at_max (TIMES - 1)
#define pipeline_max 2
#define none 255

#define record_of(claim, n) ((claim) * records_max + (n))
#define claim_of(record) ((record) / records_max)
#define is_claim(record) ((record) % records_max == 0)

/* The state that the fold makes, one byte that is its own digest. */
#define position_of(s) ((s) & 3)
#define is_decided(s, id) (((s) >> (1 + (id))) & 1)
#define done(s, id) (((s) >> (2 + 2 * (id))) & 3)
#define at_position(s, p) (((s) & 252) | (p))
#define with_decided(s, id) ((s) | (1 << (1 + (id))))
#define without_decided(s, id) ((s) & (255 - (1 << (1 + (id)))))
#define with_done(s, id) ((s) + (1 << (2 + 2 * (id))))
#define key_known(s) (keyed && (done(s, 1) || done(s, 2)))

/* How an intent was decided. */
#define is_done 1
#define is_repeated 2
#define is_expired 3
/* What the client was told of a request; of a decision: that. */
#define waiting 4
#define said_503 5
#define said_504 6

/* Readers: the two controllers and the api. */
#define api 2
#define following 0
#define claiming 1
#define leading 2

byte prev[claims_max * records_max];
byte at[claims_max * records_max];
byte outcome[claims_max * records_max];  /* of the decision: id * 4 + how; 0: none */
byte digest[claims_max * records_max];

byte entries[claims_max * records_max];  /* the events topic; [0] is the genesis */
byte end = 1;

byte claims = 0;
byte sent[claims_max];                   /* records of that claim that its producer was given */
byte written[claims_max];                /* … of which the broker has handled so many */
bool idle[claims_max];                   /* the broker forgot this producer: it takes any order */

byte intents[3];                         /* the intents topic: ids */
byte intents_end = 0;
bool keyed;                              /* both requests come under one client key */
byte copies[3];                          /* of a request's intent, still to be written or lost */
byte expires[3];
byte told[3];

byte next[3] = 1;                          /* each reader's next offset */
byte head[3];
byte state[3];
byte last_claim[3];

byte role[2];
byte claim[2];
byte read_back[2];                       /* records of the present claim */
byte tip[2];                             /* the last record appended: the head when nothing is in flight */
byte ahead[2];                           /* the state after it */
bool alone[2];                           /* the producer rested: one record goes alone */
byte elected = 0;
byte fails = FAILS;
byte elections = ELECTIONS;
byte rests = RESTS;
byte races = ELECTIONS;

/* scratch, the same in every state */
hidden byte x, i, t, s, how, from;
hidden byte known, extends, is_void;

/* Was `p` folded or void before offset n? (`from`: 0, or where a reader began that forgot what was void.) */
inline look_up(p, n) {
  known = false;
  i = from;
  do
  :: i >= n -> break
  :: else -> known = known || entries[i] == p; i++
  od
}

/* events/chain.cc: judge, judge_next. */
inline judge(h, c, x, n) {
  look_up(prev[x], n);
#ifdef WITHOUT_chain
  extends = is_claim(x) || claim_of(x) == c;
  is_void = !extends;
#else
  extends = prev[x] == h;
  is_void = !extends && known;
#ifndef WITHOUT_log_time
  if
  :: extends && at[x] < at[h] -> extends = false
  :: else
  fi;
#endif
#if !defined(WITHOUT_counts) && !defined(WITHOUT_claim)
  if
  :: extends && !is_claim(x) && claim_of(x) != c -> extends = false; is_void = true
  :: else
  fi;
#endif
#ifdef WITHOUT_broken
  is_void = !extends;
#endif
#endif
}

/* projections/fold.cc: what is past is forgotten, then the decision is folded. s: the state. */
inline forget(s, now) {
  if
  :: expires[1] < now -> s = without_decided(s, 1)
  :: else
  fi;
  if
  :: expires[2] < now -> s = without_decided(s, 2)
  :: else
  fi
}
inline fold_decision(s, o) {
  if
  :: o ->
     s = with_decided(s, o / 4);
     if
     :: o % 4 == is_done -> s = with_done(s, o / 4)
     :: else
     fi
  :: else
  fi
}
inline apply(r, x) {
  s = state[r];
  forget(s, at[x]);
  fold_decision(s, outcome[x]);
  s = at_position(s, position_of(digest[x]));
  assert(s == digest[x]);                /* one history: the replay gives the record's digest */
  state[r] = s;
  head[r] = x;
  if
  :: is_claim(x) -> last_claim[r] = claim_of(x)
  :: else
  fi
}

/* ---- controlplane/controller.cc */

/* What nobody will look at again is the same in every state: fewer of them. */
inline tidy() {
  t = (next[0] < next[1] -> next[0] : next[1]);
  t = (next[api] < t -> next[api] : t);
  i = 0;
  do
  :: i >= t -> break
  :: else ->
     outcome[entries[i]] = 0;
     digest[entries[i]] = 0;
     at[entries[i]] = (entries[i] == head[0] || entries[i] == head[1] || entries[i] == head[api] -> at[entries[i]] : 0);
     i++
  od;
  t = 0
}

/* Nobody sees how far one that only follows has read until it claims, and then it has read all: so it always has. */
inline follow(c) {
  do
  :: next[c] >= end -> break
  :: else ->
     x = entries[next[c]];
     judge(head[c], last_claim[c], x, next[c]);
     assert(extends || is_void);         /* one history: nothing is broken that was not damaged */
     if
     :: extends -> apply(c, x)
     :: else
     fi;
     next[c]++
  od;
  tip[c] = head[c];
  ahead[c] = state[c]
}

inline depose(c) {
  role[c] = following;
  claim[c] = 0;
  read_back[c] = 0;
  alone[c] = false;
#ifdef WITHOUT_undo
  state[c] = ahead[c];
#endif
  tip[c] = head[c];
  ahead[c] = state[c];
  follow(c)
}

inline append(c, o, time, after) {
  x = record_of(claim[c], sent[claim[c]]);
  assert(sent[claim[c]] < records_max);  /* else the bound is too small */
  prev[x] = tip[c];
  at[x] = time;
  outcome[x] = o;
  digest[x] = after;
  sent[claim[c]]++;
  tip[c] = x;
  ahead[c] = after
}

inline make_claim(c, time) {
  claims++;
  assert(claims < claims_max);           /* else the bound is too small */
  claim[c] = claims;
  role[c] = claiming;
  s = state[c];
  forget(s, time);
#ifdef WITHOUT_positions
  if
  :: position_of(s) < intents_end -> s = at_position(s, intents_end)  /* where the topic ends now */
  :: else
  fi;
#endif
#ifdef WITHOUT_claim
  role[c] = leading;
  sent[claims] = 1;
  written[claims] = 1;
  read_back[c] = 1
#else
  append(c, 0, time, s);
#ifdef WITHOUT_read_back
  role[c] = leading
#endif
#endif
}

/* decide(): what becomes of this id now. */
inline verdict(s, id, now) {
  if
#ifndef WITHOUT_key
  :: key_known(s) -> how = is_repeated
#endif
#ifndef WITHOUT_expiry
#ifndef WITHOUT_key
  :: !key_known(s) && now > expires[id] -> how = is_expired
  :: !key_known(s) && now <= expires[id] -> how = is_done
#else
  :: now > expires[id] -> how = is_expired
  :: now <= expires[id] -> how = is_done
#endif
#else
#ifndef WITHOUT_key
  :: !key_known(s) -> how = is_done
#else
  :: how = is_done
#endif
#endif
  fi
}

/* One intent; time: of the record. An id that was decided is passed over; its position goes with the next record. */
inline decide_intent(c, time) {
  s = ahead[c];
  t = intents[position_of(s)];
  forget(s, time);
  s = at_position(s, position_of(s) + 1);
#ifndef WITHOUT_decided
  if
  :: is_decided(s, t) -> ahead[c] = at_position(ahead[c], position_of(s)); how = 0
  :: else ->
#endif
     verdict(s, t, time);
     how = t * 4 + how;
     fold_decision(s, how);
     append(c, how, time, s);
     how = 0;
#ifndef WITHOUT_decided
  fi;
#endif
  t = 0
}

inline take_entry(c) {
  x = entries[next[c]];
  judge(head[c], last_claim[c], x, next[c]);
  next[c]++;
  if
  :: extends ->
     if
     :: x == record_of(claim[c], read_back[c]) && read_back[c] < sent[claim[c]] ->
        read_back[c]++;
        apply(c, x);
        alone[c] = false;
        if
        :: role[c] == claiming -> role[c] = leading
        :: else
        fi
     :: else ->
#if !defined(WITHOUT_deposed) || !defined(WITHOUT_counts)  /* with both left out the projection shows it */
        assert(role[c] != leading || is_claim(x));  /* one leads */
#endif
        apply(c, x);
#ifndef WITHOUT_deposed
        depose(c)
#else
        tip[c] = head[c];
        ahead[c] = state[c]
#endif
     fi
  :: !extends && is_void ->
     if
#ifndef WITHOUT_deposed
     :: claim_of(x) == claim[c] -> depose(c)
#endif
     :: else
     fi
  :: !extends && !is_void -> assert(false)  /* one history */
  fi
}

#define in_flight(c) (sent[claim[c]] - read_back[c])
#define now_of(record) at[record]

proctype controller(byte c) {
end_idle:
  do
  :: d_step { role[c] != following && next[c] < end -> take_entry(c); tidy() }
  :: d_step { role[c] != following && in_flight(c) && fails ->
       fails--;
#ifdef WITHOUT_ends
       if
       :: written[claim[c]] < sent[claim[c]] -> written[claim[c]]++
       :: else
       fi
#else
       depose(c)
#endif
     }
  :: d_step { role[c] != following && elected != c -> depose(c) }
     /* While the other still thinks that it leads, one claim; the next after it noticed: the backoff outlasts it. */
  :: d_step { role[c] == following && elected == c && (races || role[1 - c] == following) ->
       races = (role[1 - c] == following -> races : races - 1);
       make_claim(c, at[head[c]]) }
  :: atomic { role[c] == leading && in_flight(c) < (alone[c] -> 1 : pipeline_max) && position_of(ahead[c]) < intents_end ->
       if
       :: d_step { decide_intent(c, at[tip[c]]) }
       :: d_step { at[tip[c]] < at_max -> decide_intent(c, at[tip[c]] + 1) }
#ifdef WITHOUT_log_time
       :: d_step { at[tip[c]] > 0 -> decide_intent(c, at[tip[c]] - 1) }
#endif
       fi
     }
  :: d_step { rests && role[c] == leading && in_flight(c) == 0 ->
       rests--;
       idle[claim[c]] = true;
#ifndef WITHOUT_rested
       alone[c] = true
#endif
     }
     /* AskTime: somebody waits, and nothing is to be decided. */
  :: d_step { role[c] == leading && in_flight(c) < (alone[c] -> 1 : pipeline_max) && position_of(ahead[c]) == intents_end &&
              (told[1] == waiting || told[2] == waiting) && at[tip[c]] < at_max ->
       s = ahead[c];
       forget(s, at[tip[c]] + 1);
       append(c, 0, at[tip[c]] + 1, s) }
  od
}

/* ---- the broker: sessions in their order, late, or a tail of them never */

#define unwritten(k) (sent[k] - written[k])
#define in_session(k) (claim[0] == k || claim[1] == k)

inline write(k, n) {
  entries[end] = record_of(k, n);
  end++;
  if
  :: role[0] == following -> follow(0)
  :: else
  fi;
  if
  :: role[1] == following -> follow(1)
  :: else
  fi
}

#define forget_record(x) prev[x] = 0; at[x] = 0; outcome[x] = 0; digest[x] = 0
#ifdef WITHOUT_gapless
#define lose(k) written[k]++
#else
#define lose(k) \
  do \
  :: sent[k] == written[k] -> break \
  :: else -> sent[k]--; forget_record(record_of(k, sent[k])) \
  od
#endif
#define session(k) \
  :: d_step { unwritten(k) -> write(k, written[k]); written[k]++; idle[k] = false; tidy() } \
  :: d_step { idle[k] && unwritten(k) == 2 -> \
       write(k, written[k] + 1); write(k, written[k]); written[k] = sent[k]; idle[k] = false; tidy() } \
  :: d_step { unwritten(k) && !in_session(k) -> lose(k); x = 0 }

proctype broker() {
end_idle:
  do
  session(1)
  session(2)
  session(3)
  session(4)
  session(5)
  session(6)
#if claims_max > 7
  session(7)
  session(8)
  session(9)
#endif
  :: d_step { elections > 0 -> elections--; elected = 1 - elected }
  od
}

/* ---- controlplane/api: appends intents, folds, answers */

inline send(id, wall) {
  expires[id] = (at[head[api]] > wall -> at[head[api]] : wall);
  copies[id] = (keyed -> 1 : 2);
  told[id] = waiting
}

inline check_answers() {
  assert(done(state[api], 1) <= 1 && done(state[api], 2) <= 1);                      /* once */
  assert(!keyed || done(state[api], 1) + done(state[api], 2) <= 1);
  assert(!(told[1] == said_503 || told[1] == is_expired) || !done(state[api], 1));   /* answers */
  assert(!(told[2] == said_503 || told[2] == is_expired) || !done(state[api], 2))
}

/* 503: log time passed the expiry without a decision. 504: nobody knows. */
#ifdef WITHOUT_later
#define passed(id) true
#else
#define passed(id) (at[head[api]] > expires[id])
#endif
#ifdef WITHOUT_key_first
#define first_answer false
#else
#define first_answer key_known(state[api])
#endif

proctype projection() {
end_idle:
  do
  :: d_step { next[api] < end ->
       x = entries[next[api]];
       judge(head[api], last_claim[api], x, next[api]);
       next[api]++;
       assert(extends || is_void);       /* one history */
#ifndef WITHOUT_claim
       assert(!extends || is_claim(x) || claim_of(x) == last_claim[api]);  /* one leads */
#endif
       if
       :: extends ->
          apply(api, x);
          if
          :: outcome[x] && told[outcome[x] / 4] == waiting -> told[outcome[x] / 4] = outcome[x] % 4
          :: else
          fi;
          check_answers()
       :: else
       fi;
       tidy() }
  :: d_step { told[1] == waiting && passed(1) ->
       told[1] = (first_answer -> is_repeated : said_503);
       assert(told[1] != said_503 || !key_known(state[api])) }
  :: d_step { told[2] == waiting && passed(2) ->
       told[2] = (first_answer -> is_repeated : said_503);
       assert(told[2] != said_503 || !key_known(state[api])) }
  od
}

proctype client() {
  if
#ifdef KEYED
  :: keyed = KEYED
#else
  :: keyed = true
  :: keyed = false
#endif
  fi;
  if
  :: d_step { send(1, 0) }
  :: d_step { at_max > 1 -> send(1, 1) }
  fi;
end_idle:
  do
  :: d_step { copies[1] -> copies[1]--; intents[intents_end] = 1; intents_end++ }
  :: d_step { copies[2] -> copies[2]--; intents[intents_end] = 2; intents_end++ }
  :: d_step { copies[1] == 1 -> copies[1] = 0 }  /* lost on its way */
  :: d_step { keyed && told[1] == waiting -> told[1] = said_504 }
     /* It does not know, or it was not done: again, under the same key. */
  :: d_step { keyed && told[2] == 0 && (told[1] == said_504 || told[1] == said_503 || told[1] == is_expired) -> send(2, 0) }
  :: d_step { at_max > 1 && keyed && told[2] == 0 && (told[1] == said_504 || told[1] == said_503 || told[1] == is_expired) -> send(2, 1) }
  od
}

/* ---- when nothing moves any more: settled? And whoever reads the log now reads the same. */

/* A reader that starts with the record at offset n as its head, and finds the entry at `flipped` unreadable. */
inline read_from(n, flipped) {
  h = entries[n];
  c = claim_of(h);
  broken = false;
  n++;
  do
  :: n >= end || broken -> break
  :: n < end && !broken && n == flipped ->
#ifdef WITHOUT_broken
     n++
#else
     broken = true
#endif
  :: n < end && !broken && n != flipped ->
     x = entries[n];
     judge(h, c, x, n);
     if
     :: extends -> h = x; c = (is_claim(x) -> claim_of(x) : c)
     :: !extends && is_void
     :: !extends && !is_void -> broken = true
     fi;
     n++
  od
}

active proctype settled() {
  byte n, h, c, flipped;
  bool broken;
  atomic { run controller(0); run controller(1); run broker(); run projection(); run client() };
  timeout ->
  assert(role[elected] == leading && role[1 - elected] == following);
  assert(next[0] == end && next[1] == end && next[api] == end);
  assert(state[0] == state[api] && state[1] == state[api] && head[0] == head[api] && head[1] == head[api]);
  assert(in_flight(elected) == 0 && position_of(ahead[elected]) == intents_end);
  assert(told[1] != waiting || (at[head[api]] == at_max && expires[1] == at_max));  /* the bound: time ends here */
  assert(told[2] != waiting);
  assert(told[1] != is_done || done(state[api], 1) == 1);
  assert(told[2] != is_done || done(state[api], 2) == 1);
  /* Any entry: a reader begins there, if it was folded; or it becomes unreadable, and a reader begins at the genesis. */
  do
  :: n < end - 1 -> n++
  :: break
  od;
  if
  :: d_step {
       h = head[api];
       do
       :: h == entries[n] || h == 0 -> break
       :: else -> h = prev[h]
       od;
       if
       :: h != entries[n]
       :: else ->
#ifdef WITHOUT_seen
          from = n;
#endif
          read_from(n, none);
          assert(!broken && h == head[api])
       fi }
  :: d_step {
       flipped = n;
       n = 0;
       read_from(n, flipped);
       assert(broken || h == head[api]) }
  fi
}
