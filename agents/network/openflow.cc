#include "agents/network/openflow.h"

#include <fmt/format.h>

#include <cstring>

#include "agents/network/ovs_headers.h"
#include "events/check.h"

namespace reprise::network {
namespace {

constexpr ofputil_protocol protocol = OFPUTIL_P_OF15_OXM;
constexpr ofp_version version = OFP15_VERSION;
constexpr std::chrono::milliseconds back_off_most{1'000};

const ofp_header* header_of(const ofpbuf* message) { return static_cast<const ofp_header*>(message->data); }

std::string taken(char* text) {  // and frees it
  std::string copy = text ? text : "";
  free(text);
  return copy;
}

std::string key_of(unsigned table, const match& match, int priority) {
  return fmt::format("table={},{}", table, taken(match_to_string(&match, nullptr, priority)));
}

std::string actions_of(const ofpact* actions, std::size_t size) {
  ds text = DS_EMPTY_INITIALIZER;
  ofpact_format_params params{};
  params.s = &text;
  ofpacts_format(actions, size, &params);
  std::string copy = ds_cstr(&text);
  ds_destroy(&text);
  return copy;
}

}  // namespace

struct OpenFlow::Wanted {
  struct One {
    std::string actions;
    std::string bytes;  // the flow_mod that adds it
    PortId port;
    AnyId owner;
    std::string text;
  };
  std::map<std::string, One> flows;
};

struct OpenFlow::Installed {
  struct One {
    unsigned table = 0;
    int priority = 0;
    minimatch where;
    std::string actions;
    bool ours = false;  // our cookie, and no timeout
    One() { minimatch_init_catchall(&where); }
    One(One&& other) noexcept : One() { *this = std::move(other); }
    One& operator=(One&& other) noexcept {
      std::swap(table, other.table);
      std::swap(priority, other.priority);
      minimatch mine;
      minimatch_move(&mine, &where);
      minimatch_move(&where, &other.where);
      minimatch_move(&other.where, &mine);
      std::swap(actions, other.actions);
      std::swap(ours, other.ours);
      return *this;
    }
    ~One() { minimatch_destroy(&where); }
  };
  std::map<std::string, One> flows;
};

OpenFlow::OpenFlow(OvsLoop& loop, const std::string& run_dir, const std::string& bridge,
                   std::function<void()> changed)
    : loop_(loop),
      remote_(fmt::format("unix:{}/{}.mgmt", run_dir, bridge)),
      changed_(std::move(changed)),
      socket_(run_dir, bridge + ".mgmt") {
  loop_.attach(this);
}

OpenFlow::~OpenFlow() {
  loop_.detach(this);
  if (vconn_) vconn_close(vconn_);
}

void OpenFlow::disconnect() {
  const bool was = connected_;
  if (vconn_) vconn_close(vconn_);
  vconn_ = nullptr;
  connected_ = false;
  again_at_ = Clock::now() + back_off_;
  back_off_ = std::min(back_off_most, back_off_ * 2);
  if (was) changed_();
}

void OpenFlow::run() {
  if (socket_.happened()) {
    back_off_ = std::chrono::milliseconds{50};
    again_at_ = Clock::now();
  }
  if (!vconn_) {
    if (Clock::now() < again_at_) return;
    if (vconn_open(remote_.c_str(), 1u << version, 0, &vconn_) != 0) {
      vconn_ = nullptr;
      return disconnect();
    }
  }
  vconn_run(vconn_);
  if (!connected_) {
    const int error = vconn_connect(vconn_);
    if (error == EAGAIN) return;
    if (error != 0) return disconnect();
    connected_ = true;
    back_off_ = std::chrono::milliseconds{50};
    changed_();
  }
  while (!busy_) {
    ofpbuf* got = nullptr;
    const int error = vconn_recv(vconn_, &got);
    if (error == EAGAIN) return;
    if (error != 0) return disconnect();
    ofptype type;
    if (ofptype_decode(&type, header_of(got)) == 0 && type == OFPTYPE_ECHO_REQUEST) {
      ofpbuf* reply = ofputil_encode_echo_reply(header_of(got));
      if (vconn_send(vconn_, reply) != 0) ofpbuf_delete(reply);
    }
    ofpbuf_delete(got);
  }
}

void OpenFlow::wait() {
  socket_.wait();
  if (!vconn_) {
    // A socket that is not there announces itself; the timer is for one that refused.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(again_at_ - Clock::now()).count();
    poll_timer_wait(std::max<long long>(0, left));
    return;
  }
  vconn_run_wait(vconn_);
  if (connected_) vconn_recv_wait(vconn_);
  else vconn_connect_wait(vconn_);
}

Status OpenFlow::until_connected(Clock::time_point deadline) {
  if (loop_.run_until([this] { return connected_; }, deadline)) return {};
  return {Errc::unreachable, fmt::format("ovs-vswitchd does not answer at {}: is it running?", remote_)};
}

Status OpenFlow::exchange(std::vector<Message> messages, const std::function<bool(const Message&)>& on_answer,
                          Clock::time_point deadline) {
  if (auto status = until_connected(deadline); !status) return status;
  std::size_t sent = 0;
  bool done = false;
  int broken = 0;
  busy_ = true;
  const auto step = [&] {
    if (!vconn_ || !connected_) broken = broken ? broken : ENOTCONN;
    while (!broken && sent < messages.size()) {
      const int error = vconn_send(vconn_, messages[sent].get());
      if (error == EAGAIN) break;
      if (error != 0) broken = error;
      else (void)messages[sent++].release();
    }
    while (!broken && !done) {
      ofpbuf* got = nullptr;
      const int error = vconn_recv(vconn_, &got);
      if (error == EAGAIN) break;
      if (error != 0) broken = error;
      else done = on_answer(Message(got, ofpbuf_delete));
    }
    if (vconn_ && !broken && !done && sent < messages.size()) vconn_send_wait(vconn_);
    return done || broken != 0;
  };
  const bool ended = loop_.run_until(step, deadline);
  busy_ = false;
  if (done) return {};
  disconnect();  // half an exchange is on it
  if (!ended)
    return {Errc::timed_out,
            fmt::format("ovs-vswitchd did not answer at {} in time: look at its log", remote_)};
  return {Errc::unreachable, fmt::format("the connection to ovs-vswitchd at {} broke: {}", remote_,
                                         ovs_retval_to_string(broken))};
}

Result<Refused> OpenFlow::understand(const std::vector<Flow>& flows, Wanted& into) {
  Refused refused;
  for (const auto& flow : flows) {
    ofputil_flow_mod mod;
    ofputil_protocol usable;
    if (char* error = parse_ofp_flow_mod_str(&mod, flow.text.c_str(), nullptr, nullptr, OFPFC_ADD, &usable)) {
      refused.try_emplace(flow.owner(), fmt::format("flow \"{}\": {}", flow.text, taken(error)));
      continue;
    }
    mod.new_cookie = htonll(flow_cookie);
    Message message(ofputil_encode_flow_mod(&mod, protocol), ofpbuf_delete);
    ofpmsg_update_length(message.get());
    minimatch_destroy(&mod.match);
    free(mod.ofpacts);
    // As it comes back from the switch: what it has is compared with this.
    ofpbuf actions;
    ofpbuf_init(&actions, 0);
    const ofperr error = ofputil_decode_flow_mod(&mod, header_of(message.get()), protocol, nullptr, nullptr,
                                                 &actions, OFPP_MAX, 255);
    if (error) {
      ofpbuf_uninit(&actions);
      refused.try_emplace(flow.owner(), fmt::format("flow \"{}\": {}", flow.text, ofperr_to_string(error)));
      continue;
    }
    match where;
    minimatch_expand(&mod.match, &where);
    auto [it, fresh] = into.flows.try_emplace(key_of(mod.table_id, where, mod.priority));
    if (fresh)
      it->second = {actions_of(mod.ofpacts, mod.ofpacts_len),
                    std::string(static_cast<char*>(message->data), message->size), flow.port, flow.owner(),
                    flow.text};
    const Wanted::One twin = it->second;
    minimatch_destroy(&mod.match);
    ofpbuf_uninit(&actions);
    // The port that may have an address twice is no trouble; two that want one frame are.
    if (fresh || (twin.owner == flow.owner() && twin.text == flow.text)) continue;
    refused.try_emplace(flow.owner(),
                        fmt::format("its frames are already those of {}: flow \"{}\" is taken by \"{}\"",
                                    twin.owner.str(), flow.text, twin.text));
  }
  if (const auto nobody = refused.find({}); nobody != refused.end()) return {Errc::broken, nobody->second};
  return refused;
}

Result<Refused> OpenFlow::understood(const std::vector<Flow>& flows) {
  if (last_wanted_ && flows == last_flows_) return last_refused_;
  auto wanted = std::make_unique<Wanted>();
  auto refused = understand(flows, *wanted);
  if (!refused) return refused;
  last_flows_ = flows;
  last_wanted_ = std::move(wanted);
  last_refused_ = *refused;
  return refused;
}

Result<OpenFlow::Installed> OpenFlow::dump(Clock::time_point deadline) {
  ofputil_flow_stats_request request{};
  match_init_catchall(&request.match);
  request.out_port = OFPP_ANY;
  request.out_group = OFPG_ANY;
  request.table_id = OFPTT_ALL;
  std::vector<Message> messages;
  messages.emplace_back(ofputil_encode_flow_stats_request(&request, protocol), ofpbuf_delete);
  const ovs_be32 xid = header_of(messages[0].get())->xid;
  Installed installed;
  std::string refused;
  auto status = exchange(
      std::move(messages),
      [&](const Message& answer) {
        const ofp_header* header = header_of(answer.get());
        if (header->xid != xid) return false;
        ofptype type;
        if (ofptype_decode(&type, header) != 0 || type != OFPTYPE_FLOW_STATS_REPLY) {
          refused = ofperr_to_string(ofperr_decode_msg(header, nullptr));
          return true;
        }
        const bool more = ofpmp_more(header);
        ofpbuf actions;
        ofpbuf_init(&actions, 0);
        ofputil_flow_stats flow;
        int error;
        while ((error = ofputil_decode_flow_stats_reply(&flow, answer.get(), false, &actions)) == 0) {
          Installed::One one;
          one.table = flow.table_id;
          one.priority = flow.priority;
          minimatch_destroy(&one.where);
          minimatch_init(&one.where, &flow.match);
          one.actions = actions_of(flow.ofpacts, flow.ofpacts_len);
          one.ours = ntohll(flow.cookie) == flow_cookie && flow.idle_timeout == 0 && flow.hard_timeout == 0;
          installed.flows.insert_or_assign(key_of(flow.table_id, flow.match, flow.priority), std::move(one));
        }
        ofpbuf_uninit(&actions);
        if (error != EOF) refused = ofperr_to_string(static_cast<ofperr>(error));
        return !more || !refused.empty();
      },
      deadline);
  if (!status) return status.error();
  if (!refused.empty()) return {Errc::broken, "ovs-vswitchd's list of flows cannot be read: " + refused};
  return installed;
}

Result<FlowsBehind> OpenFlow::compare(const std::vector<Flow>& flows, Clock::time_point deadline) {
  auto refused = understood(flows);
  if (!refused) return refused.error();
  auto installed = dump(deadline);
  if (!installed) return installed.error();
  FlowsBehind behind;
  behind.missing = refused->size();
  for (const auto& [key, flow] : last_wanted_->flows) {
    const auto has = installed->flows.find(key);
    if (has != installed->flows.end() && has->second.ours && has->second.actions == flow.actions) continue;
    ++behind.missing;
    if (flow.port) behind.ports.insert(flow.port);
  }
  for (const auto& [key, flow] : installed->flows) {
    behind.foreign += !last_wanted_->flows.contains(key);
    match where;
    minimatch_expand(&flow.where, &where);
    if (flow.table == 0 && flow.ours)
      behind.known.insert(static_cast<std::uint16_t>(where.flow.in_port.ofp_port));
  }
  return behind;
}

Result<Refused> OpenFlow::replace(const std::vector<Flow>& flows, Clock::time_point deadline) {
  auto refused = understood(flows);
  if (!refused || !refused->empty()) return refused;
  auto installed = dump(deadline);
  if (!installed) return installed.error();
  std::vector<Mod> mods;
  for (const auto& [key, flow] : installed->flows) {
    if (last_wanted_->flows.contains(key)) continue;
    ofputil_flow_mod mod{};
    minimatch_clone(&mod.match, &flow.where);
    mod.priority = flow.priority;
    mod.table_id = static_cast<std::uint8_t>(flow.table);
    mod.new_cookie = OVS_BE64_MAX;
    mod.command = OFPFC_DELETE_STRICT;
    mod.buffer_id = UINT32_MAX;
    mod.out_port = OFPP_ANY;
    mod.out_group = OFPG_ANY;
    mods.push_back({Message(ofputil_encode_flow_mod(&mod, protocol), ofpbuf_delete), AnyId{}});
    ofpmsg_update_length(mods.back().message.get());
    minimatch_destroy(&mod.match);
  }
  for (const auto& [key, flow] : last_wanted_->flows) {
    const auto has = installed->flows.find(key);
    if (has != installed->flows.end() && has->second.ours && has->second.actions == flow.actions) continue;
    mods.push_back(
        {Message(ofpbuf_clone_data(flow.bytes.data(), flow.bytes.size()), ofpbuf_delete), flow.owner});
  }
  return mods.empty() ? Refused{} : bundle(std::move(mods), deadline);
}

Result<Refused> OpenFlow::bundle(std::vector<Mod> mods, Clock::time_point deadline) {
  static std::uint32_t last_id = 0;
  ofputil_bundle_ctrl_msg control{++last_id, OFPBCT_OPEN_REQUEST, OFPBF_ORDERED | OFPBF_ATOMIC};
  const auto request = [&](std::uint16_t type) {
    control.type = type;
    return Message(ofputil_encode_bundle_ctrl_request(version, &control), ofpbuf_delete);
  };
  std::map<ovs_be32, AnyId> owners;  // by xid: an error comes back with that of the message it is for
  std::size_t errors = 0;
  std::string first;
  Refused refused;
  ovs_be32 last_xid = 0;
  const auto on_answer = [&](const Message& answer) {
    ofptype type;
    const ofp_header* header = header_of(answer.get());
    if (ofptype_decode(&type, header) == 0 && type == OFPTYPE_ERROR) {
      const std::string why = ofperr_to_string(ofperr_decode_msg(header, nullptr));
      if (errors++ == 0) first = why;
      if (const auto owner = owners.find(header->xid); owner != owners.end() && owner->second)
        refused.try_emplace(owner->second, "ovs-vswitchd refuses a flow of it: " + why);
    }
    return header->xid == last_xid;
  };

  std::vector<Message> messages;
  messages.push_back(request(OFPBCT_OPEN_REQUEST));
  for (auto& mod : mods) {
    owners[header_of(mod.message.get())->xid] = mod.owner;  // the bundle's message has the same
    ofputil_bundle_add_msg add{control.bundle_id, control.flags, header_of(mod.message.get())};
    messages.emplace_back(ofputil_encode_bundle_add(version, &add), ofpbuf_delete);
    mod.message.reset();
  }
  messages.emplace_back(ofputil_encode_barrier_request(version), ofpbuf_delete);
  last_xid = header_of(messages.back().get())->xid;
  if (auto status = exchange(std::move(messages), on_answer, deadline); !status) return status.error();

  std::vector<Message> end;
  end.push_back(request(errors == 0 ? OFPBCT_COMMIT_REQUEST : OFPBCT_DISCARD_REQUEST));
  last_xid = header_of(end[0].get())->xid;
  if (auto status = exchange(std::move(end), on_answer, deadline); !status) return status.error();
  if (errors == 0 || !refused.empty()) return refused;
  return {Errc::broken,
          fmt::format("ovs-vswitchd refuses {} of {} flows, none was changed; the first for: {}", errors,
                      mods.size(), first)};
}

}  // namespace reprise::network
