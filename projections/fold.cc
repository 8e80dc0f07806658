#include "projections/fold.h"

#include "events/refusal.h"

namespace reprise {
namespace {

template <class Row>
void forget_expired(Table<Row>& table, std::int64_t at_ms) {
  std::vector<typename Row::Key> due;
  table.each_entry(Row::by_expiry, [&](std::string_view, const Row& row) {
    if (row.expires_ms >= at_ms) return false;
    due.push_back(row.key());
    return true;
  });
  for (const auto& key : due) table.erase(key);
}

void apply(State& state, const Event& event, const Meta& meta) {
  switch (event.type()) {
#define EVENT(Type, handler, since) \
  case EventType::Type: handler(state, event.as<Type>(), meta); return;
#include "events/catalog.def"
#undef EVENT
    case EventType::NONE: break;
  }
  CHECK(false);
}

void remember_intent(State& state, const RecordFrame& frame, const Decision& decision, const Intent& intent) {
  if (!state.decided.contains(intent.id))
    state.decided.insert({.id = intent.id, .expires_ms = intent.expires_ms, .seq = frame.seq, .decision = frame.next_decision});
  if (intent.key.empty() || !is_kept_under_key(decision)) return;
  const Hash key = ClientKey::key_of(intent.user, intent.project, intent.key);
  if (state.client_keys.contains(key)) return;
  state.client_keys.insert({.id = key, .intent = intent.id, .body_hash = intent.body_hash,
                            .expires_ms = frame.at_ms + client_key_kept_ms, .seq = frame.seq,
                            .decision = frame.next_decision});
}

}  // namespace

bool is_kept_under_key(const Decision& decision) {
  for (const auto& event : decision.events) {
    if (!event.is<IntentRefused>()) continue;
    const auto refusal = static_cast<Refusal>(event.as<IntentRefused>().refusal);
    if (refusal == Refusal::expired || refusal == Refusal::rate_limited || refusal == Refusal::poison) return false;
  }
  return true;
}

void fold_begin(State& state, const RecordFrame& frame) {
  forget_expired(state.decided, frame.at_ms);
  forget_expired(state.client_keys, frame.at_ms);
  forget_expired(state.revoked_tokens, frame.at_ms);
  state.settle();
}

void fold_decision(State& state, RecordFrame& frame, const Decision& decision, const Intent* intent) {
  std::optional<Intent> decoded;
  if (decision.cause == Cause::intent && !intent) {
    auto read = decode_intent(decision.intent);
    if (read) decoded = std::move(*read);  // an unreadable one was refused, and has no id to remember
    intent = decoded ? &*decoded : nullptr;
  }
  Meta meta{.born = {frame.seq, 0}, .at_ms = frame.at_ms, .cause = decision.cause,
            .intent = intent, .node = decision.node};
  for (const auto& event : decision.events) {
    meta.born.index = frame.next_event++;
    apply(state, event, meta);
    state.settle();
  }
  if (intent) remember_intent(state, frame, decision, *intent);
  if (decision.cause == Cause::report) {
    node::count_reports(state, decision.node, decision.report);
    if (state.the_cloud().barren_reports != 0) state.cloud.edit({}).barren_reports = 0;
  }
  if (decision.cause == Cause::intent && state.the_cloud().barren_claims != 0)
    state.cloud.edit({}).barren_claims = 0;
  state.settle();
  ++frame.next_decision;
}

void fold_end(State& state, const std::vector<Position>& positions) {
  if (!state.cloud.contains({})) return;
  if (state.the_cloud().positions != positions) state.cloud.edit({}).positions = positions;
  state.settle();
}

void fold(State& state, const Record& record) {
  RecordFrame frame{.seq = record.seq, .at_ms = record.at_ms};
  fold_begin(state, frame);
  for (const auto& decision : record.decisions) fold_decision(state, frame, decision);
  fold_end(state, record.positions);
}

}  // namespace reprise
