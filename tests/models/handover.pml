/* What a node holds is handed over, never copied (design, section 4), also when nodes are lost and fenced (section 5,
   "A lost node"). One server with one address, NODES nodes, a second server that waits for the address.

   What stands for what
     The controller's state is the log: what it decides is durable and in one order (log.pml shows why). Each event has a
     seq. An agent has a copy of its assignment, as old as it likes; `confirmed` since it started it may act on it, at any
     later time: leases only narrow that window, so they are not in here. What a driver was asked may take effect at any
     later time, also after the agent that asked was killed (`defined`, `fencing`).
     Reports arrive late, twice, out of order and from former incarnations: of each kind only the newest ever made is kept,
     and it can be taken at any time from then on. That is more than numbers and incarnations allow, so both are left out.
     A loss is an event that may come at any time: the node may be dead, cut off, paused or only slow.
     `running` is the storage identity under which the guest has opened its disk; it writes if that is not fenced.

   Bounds: -DNODES, -DLOSSES (NodeLost events), -DRESTARTS (of agents, or of hosts with their guests), -DMOVES (places given
   up without a loss), -DADDRESSES=0 (no address, and the server is not deleted).

   Rules, each a switch (-DWITHOUT_name), with where the code keeps it:
     confirm       elsewhere only after the holder reported absence: decide/report.cc server_leaving
     realized      … at or past the unplace; what was seen before is no answer: decide/report.cc `since`, `realized`
     confirmed     an agent acts on heads that it confirmed since it started: agents/core/reconciler.cc may_act
     in_flight     no absence is reported while an action is under way: agents/core/reconciler.cc step (one thread)
     define        what is being started is visible first: agents/compute/plan.cc Step::define before Step::start
     concerned     ports are released by the network agent, not by compute: decide/report.cc port
     fence         after a loss nothing runs elsewhere before the fence is reported: decide/evacuate.cc due, decide/report.cc fence
     loss          a fence's report names the NodeLost that it answers: decide/report.cc fence
     never_lifted  a fence is never lifted, a returning node gets a new identity instead: agents/storage/driver.h has no such
                   step (left out: it keeps its identity, and whoever is told to lift the fence may be paused)
     identity      a node for which a fence was asked returns with a new identity: projections/node.cc returned
     asked         a fence is carried out only where it was asked for since the loss: core/assignment.cc (by_fencer), node.cc returned
     former        a fence covers the node's former identities, too: ops/decisions/0011, core/simulated_disks.cc
     future        a fence covers clients of that identity that come later, too: core/simulated_disks.cc
     returned      a node returns by a confirmed report without what was moved: decide/report.cc has_returned (a second lock:
                   what still runs there does so under an identity that is fenced for ever, and its address stays held)
     address       a fence does not free the address, only the lost node's network agent does: projections/node.h Leftover

   Properties
     one runs      never two nodes on which the server runs with write access
     one hand      the address never answers for two servers
     settle        checked as in log.pml: no cycle, and at each end all nodes are up, and the server runs where it should
                   with write access and nowhere else, or it is gone and the other one has the address. */

#ifndef NODES
#define NODES 2
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef MOVES
#define MOVES 2
#endif
#ifndef ADDRESSES
#define ADDRESSES 1
#endif

#define nowhere NODES
#define to_define 1
#define to_start 2

/* ---- the controller's state. A seq is kept as what is asked of it: is a view, or a report, at or past the last wish
   about the server at its node (a place, an unplace, a release), or past its loss? */
bool lost[NODES];
byte identity[NODES];
byte identities = NODES;
byte loss[NODES];                        /* the NodeLost that it is lost by */
bool asked_for[NODES];                   /* its fence, since then: NodeFencing */
byte losses = 0;
byte lost_identity[LOSSES + 2];
byte lost_node[LOSSES + 2];
byte owner[NODES + LOSSES + 1];          /* of each identity: its node, counted from 1 */

byte node = 0;                           /* the server's, or nowhere */
bool unplacing = false;
bool compute_released = false;
bool to_delete, deleting = false, gone = false;
byte moves = MOVES;
bool held[NODES];                        /* the address may still answer there, where the server is no more */
bool given = false;                      /* the address, to the other server */
byte restarts = RESTARTS;

/* ---- what is in the air: was such a report ever made? */
bool heard[NODES];                       /* any by compute, past the loss */
bool absent[NODES];                      /* one by compute without the server, at or past the last wish */
bool absent_since_loss[NODES];
bool port_absent[NODES];                 /* one by network without the port, at or past the last wish */
bool said_absent[NODES];                 /* one without the server, confirmed or not, however old */
bool fence_reported[LOSSES + 2];

/* ---- the nodes */
bool stale[NODES];                       /* its agents' copy of the assignment is not the newest */
bool view_wish[NODES];                   /* … it is at or past the last wish */
bool view_loss[NODES];                   /* … past the loss */
bool view_want[NODES];
byte view_identity[NODES];
bool confirmed[NODES];
bool port_want[NODES];
bool domain[NODES];                     /* a domain is there */
byte running[NODES];
bool port[NODES];
byte asked[NODES];                       /* the action that compute's driver was asked for, and under which identity */
byte asked_identity[NODES];
byte late[NODES];                        /* … one that an agent asked for that was killed since */
byte late_identity[NODES];
bool port_asked[NODES];
byte fence_order[NODES];                 /* in storage's copy: the loss that is to be answered */
byte fencing[NODES];                     /* a fence is under way, for that loss */
byte lifting[NODES];
bool fenced[NODES + LOSSES + 1];

hidden byte i, writers;

#ifdef WITHOUT_future
bool cut[NODES];                         /* the guest that ran when the fence came */
#define writes(n) (running[n] && !cut[n])
#else
#define writes(n) (running[n] && !fenced[running[n]])
#endif

inline check() {
  i = 0; writers = 0;
  do
  :: i == NODES -> break
  :: else ->
     writers = writers + (writes(i) -> 1 : 0);
     assert(!(given && port[i]));        /* one hand */
     i++
  od;
  assert(writers <= 1)                   /* one runs */
}

/* ---- controlplane/decide: events, each with its seq */

#define up(n) (!lost[n])

inline wish(n) {
  stale[n] = true;
  view_wish[n] = false;
  absent[n] = false;
  port_absent[n] = false
}

/* It is nowhere now: what stays behind at n may still answer for its address. */
inline leave(n, holds) {
  held[n] = holds;
  node = nowhere;
  unplacing = false;
  compute_released = false;
  gone = deleting;
  wish(n)
}

inline place(n) {
  node = n;
  held[n] = false;
  wish(n)
}

inline unplace() {
  unplacing = true;
  compute_released = false;
  wish(node)
}

/* Others' storage is told of it. */
inline tell_all() {
  i = 0;
  do
  :: i == NODES -> break
  :: else -> stale[i] = true; i++
  od
}

inline lose(n) {
  losses++;
  lost[n] = true;
  loss[n] = losses;
  lost_node[losses] = n;
  lost_identity[losses] = identity[n];
  view_loss[n] = false;
  heard[n] = false;
  absent_since_loss[n] = false;
  tell_all();
  i = 0
}

inline come_back(n) {
  lost[n] = false;
  if
#ifndef WITHOUT_identity
  :: asked_for[n] ->
#ifndef WITHOUT_never_lifted
     identities++;
     identity[n] = identities;
     owner[identities] = n + 1
#else
     lifting[n] = identity[n]            /* somebody is told to, and may be paused */
#endif
#endif
  :: else
  fi;
  asked_for[n] = false;
  loss[n] = 0;
  heard[n] = false;
  absent_since_loss[n] = false;
  tell_all();
  i = 0
}

#ifdef WITHOUT_realized
#define is_absent(n) said_absent[n]
#else
#define is_absent(n) absent[n]
#endif
#ifdef WITHOUT_concerned
#define port_is_absent(n) true
#else
#define port_is_absent(n) port_absent[n]
#endif

/* Does a report of a fence answer the loss of this node? */
#ifdef WITHOUT_loss
#define answers(l, n) (fence_reported[l] && lost_node[l] == n)
#else
#define answers(l, n) (fence_reported[l] && loss[n] == l)
#endif

#ifdef WITHOUT_fence
#define fence_is_reported(n) true
#else
#define fence_is_reported(n) (answers(1, n) || (LOSSES > 1 && answers(LOSSES, n)) || (LOSSES > 2 && answers(2, n)))
#endif
#ifdef WITHOUT_returned
#define may_return(n) lost[n]
#else
#define may_return(n) (lost[n] && heard[n] && (node == n || absent_since_loss[n]))
#endif
#define any_held (held[0] || held[1] || (NODES > 2 && held[NODES - 1]))

#define for_node(n) \
  :: d_step { node == nowhere && !gone && up(n) -> place(n) } \
  :: d_step { held[n] && port_is_absent(n) -> held[n] = false } \
  :: d_step { up(n) && losses < LOSSES -> lose(n) } \
  :: d_step { lost[n] && !asked_for[n] && node == n -> asked_for[n] = true; tell_all(); i = 0 } \
  :: d_step { may_return(n) -> come_back(n) } \
  :: d_step { lost[n] && node == n && fence_is_reported(n) -> leave(n, true) }

proctype controller() {
end_idle:
  do
  :: d_step { moves && node != nowhere && !unplacing -> moves--; unplace() }
  :: d_step { to_delete ->
       to_delete = false;
       deleting = true;
       if
       :: node == nowhere -> gone = true
       :: node != nowhere && !unplacing -> unplace()
       :: else
       fi }
#ifdef WITHOUT_confirm
  :: d_step { node != nowhere && unplacing -> i = node; leave(i, true) }
#endif
  :: d_step { node != nowhere && unplacing && !compute_released && is_absent(node) ->
       compute_released = true; wish(node) }
  :: d_step { node != nowhere && unplacing && compute_released && port_is_absent(node) ->
       i = node; leave(i, false) }
#ifdef WITHOUT_address
  :: d_step { gone && !given -> given = true; check() }
#else
  :: d_step { gone && !given && !any_held -> given = true; check() }
#endif
  for_node(0)
  for_node(1)
#if NODES > 2
  for_node(2)
#endif
  od
}

/* ---- agents and drivers of one node */

#ifdef WITHOUT_asked
#define may_be_fenced(n) lost[n]
#else
#define may_be_fenced(n) (lost[n] && asked_for[n])
#endif

inline look(n) {
  view_want[n] = node == n && !unplacing;
  view_identity[n] = identity[n];
  port_want[n] = ADDRESSES && node == n && !(unplacing && compute_released);
  i = 0;
  fence_order[n] = 0;
  do
  :: i == NODES -> break
  :: else ->
     fence_order[n] = (i != n && may_be_fenced(i) && !fence_reported[loss[i]] -> loss[i] : fence_order[n]);
     i++
  od;
  stale[n] = false;
  view_wish[n] = true;
  view_loss[n] = lost[n];
  confirmed[n] = true
}

/* Restarted, it begins with what its own projection had stored, which may be the oldest; that it did not confirm. */
inline forget(n) {
  confirmed[n] = false;
  stale[n] = true;
  view_wish[n] = false;
  view_loss[n] = false;
  view_want[n] = n == 0;
  view_identity[n] = n + 1;
  fence_order[n] = 0;
  port_want[n] = ADDRESSES && n == 0;
  port_asked[n] = false
}

#ifdef WITHOUT_future
#define uncut(n) cut[n] = false
#else
#define uncut(n) skip
#endif
/* A driver does what it was asked for. A start finds what was defined; without that step it makes all in one go. */
inline perform(n, action, who) {
  if
  :: action == to_define && !running[n] -> domain[n] = true
  :: action == to_start && domain[n] && !running[n] -> running[n] = who; uncut(n)
#ifdef WITHOUT_define
  :: action == to_start && !domain[n] -> running[n] = who; domain[n] = true; uncut(n)
#endif
  :: else
  fi;
  action = 0;
  who = 0;
  check()
}

/* agents/compute/plan.cc: next_action. */
inline plan(n) {
  if
  :: domain[n] && !view_want[n] -> running[n] = 0; domain[n] = false
  :: view_want[n] && running[n] && running[n] != view_identity[n] -> running[n] = 0
#ifdef WITHOUT_define
  :: !domain[n] && view_want[n] -> asked[n] = to_start; asked_identity[n] = view_identity[n]
#else
  :: !domain[n] && view_want[n] -> asked[n] = to_define; asked_identity[n] = view_identity[n]
#endif
  :: else -> asked[n] = to_start; asked_identity[n] = view_identity[n]   /* defined, and off */
  fi
}
#define as_wanted(n) (view_want[n] -> domain[n] && running[n] == view_identity[n] : !domain[n])

#ifdef WITHOUT_confirmed
#define may_act(n) true
#else
#define may_act(n) confirmed[n]
#endif
#ifdef WITHOUT_in_flight
#define may_observe(n) true
#define may_observe_port(n) true
#else
#define may_observe(n) (!asked[n])
#define may_observe_port(n) (!port_asked[n])
#endif

inline fence(l) {
#ifdef WITHOUT_future
  i = 0;
  do
  :: i == NODES -> break
  :: else -> cut[i] = cut[i] || running[i] == lost_identity[l]; i++
  od;
#endif
#ifndef WITHOUT_former
  i = 1;
  do
  :: i >= lost_identity[l] -> break
  :: else -> fenced[i] = fenced[i] || owner[i] == lost_node[l] + 1; i++
  od;
  i = 0;
#endif
  fenced[lost_identity[l]] = true;
  fence_reported[l] = true
}

/* What can be reported is, at once: when it is taken is open, and it may be never. */
inline observe(n) {
  if
  :: confirmed[n] && may_observe(n) ->
     heard[n] = heard[n] || view_loss[n];
     absent[n] = absent[n] || (view_wish[n] && !domain[n]);
     absent_since_loss[n] = absent_since_loss[n] || (view_loss[n] && !domain[n])
  :: else
  fi;
  port_absent[n] = port_absent[n] || (confirmed[n] && may_observe_port(n) && view_wish[n] && !port[n]);
#ifdef WITHOUT_realized
  said_absent[n] = said_absent[n] || (may_observe(n) && !domain[n])
#endif
}

proctype agents(byte n) {
end_idle:
  do
  :: d_step { stale[n] -> look(n); observe(n) }
     /* compute */
  :: d_step { may_act(n) && !asked[n] && !as_wanted(n) -> plan(n); observe(n) }
  :: d_step { asked[n] -> perform(n, asked[n], asked_identity[n]); observe(n) }
  :: d_step { late[n] -> perform(n, late[n], late_identity[n]); observe(n) }
     /* network */
  :: d_step { may_act(n) && !port_asked[n] && port_want[n] && !port[n] -> port_asked[n] = true; observe(n) }
  :: d_step { port_asked[n] -> port_asked[n] = false; port[n] = true; check(); observe(n) }
  :: d_step { may_act(n) && !port_asked[n] && !port_want[n] && port[n] -> port[n] = false; observe(n) }
     /* storage */
  :: d_step { may_act(n) && fence_order[n] && !fencing[n] && !fence_reported[fence_order[n]] -> fencing[n] = fence_order[n] }
  :: d_step { fencing[n] -> fence(fencing[n]); fencing[n] = 0 }
#ifdef WITHOUT_never_lifted
  :: d_step { lifting[n] -> fenced[lifting[n]] = false; lifting[n] = 0; check() }
#endif
     /* The agents are killed, what they asked for may be done or not; or the host is. */
  :: d_step { restarts -> restarts--; forget(n); late[n] = asked[n]; late_identity[n] = asked_identity[n]; asked[n] = 0; asked_identity[n] = 0 }
  :: d_step { restarts -> restarts--; forget(n); asked[n] = 0; asked_identity[n] = 0; fencing[n] = 0; late[n] = 0; late_identity[n] = 0 }
  :: d_step { restarts -> restarts--; forget(n); asked[n] = 0; asked_identity[n] = 0; fencing[n] = 0; late[n] = 0; late_identity[n] = 0;
       running[n] = 0; port[n] = false }
  od
}

inline check_settled(n) {
  assert(!lost[n] && !held[n]);
  assert((running[n] != 0) == (node == n) && domain[n] == (node == n) && port[n] == (ADDRESSES && node == n));
#ifndef WITHOUT_never_lifted             /* which does not settle either; here it shows the two writers */
  assert(node != n || (running[n] == identity[n] && writes(n)))
#else
  skip
#endif
}

active proctype settled() {
  atomic {
    if
    :: ADDRESSES -> to_delete = true
    :: to_delete = false
    fi;
    i = 0;
    do
    :: i == NODES -> break
    :: else -> identity[i] = i + 1; owner[i + 1] = i + 1; forget(i); i++
    od;
    run controller(); run agents(0); run agents(1);
#if NODES > 2
    run agents(2)
#endif
  };
  timeout ->
  check_settled(0);
  check_settled(1);
#if NODES > 2
  check_settled(2);
#endif
  assert(!unplacing && gone == given && gone == deleting && (gone || node != nowhere))
}
