// libopenvswitch's C headers, as C++ can take them. Only the ovs_*.cc and openflow.cc include this.
//
// Order and wrapping matter: ofp-errors.h before ofp-flow.h and ofp-match.h (they use its enum undeclared),
// util.h outside of extern "C" (it has a template), private headers inside (they have none of their own)
// and with the C++ keywords that they use as names renamed.
#pragma once

#include <config.h>

#include "openvswitch/ofp-errors.h"
#include "openvswitch/ofp-actions.h"
#include "openvswitch/ofp-bundle.h"
#include "openvswitch/ofp-flow.h"
#include "openvswitch/ofp-match.h"
#include "openvswitch/ofp-msgs.h"
#include "openvswitch/ofp-parse.h"
#include "openvswitch/ofp-print.h"
#include "openvswitch/ofp-util.h"
#include "openvswitch/ofpbuf.h"
#include "openvswitch/poll-loop.h"
#include "openvswitch/vconn.h"
#include "openvswitch/vlog.h"
#include "lib/util.h"
#include "lib/hash.h"
#include "lib/timeval.h"
#include "lib/byte-order.h"
#include "lib/uuid.h"
extern "C" {
#define new new_
#define class class_
#define delete delete_
#define private private_
#define mutable mutable_
#include "lib/fatal-signal.h"
#include "lib/ovsdb-idl.h"
#include "lib/vswitch-idl.h"
#undef new
#undef class
#undef delete
#undef private
#undef mutable
}
