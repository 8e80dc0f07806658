#include "projections/references.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "projections/state.h"

namespace reprise {
namespace {

constexpr Reference all[] = {
    {"users", "default_project", "projects", OnDelete::cleared},
    {"role_assignments", "project", "projects", OnDelete::together},
    {"role_assignments", "user", "users", OnDelete::together},
    {"role_assignments", "role", "roles", OnDelete::together},
    {"quotas", "project", "projects", OnDelete::together},
    {"keypairs", "user", "users", OnDelete::together},
    {"keypairs", "project", "projects", OnDelete::refused},
    {"servers", "project", "projects", OnDelete::refused},
    {"servers", "user", "users", OnDelete::copied},
    {"servers", "image", "images", OnDelete::while_needed},
    {"servers", "kernel", "images", OnDelete::refused},  // read at every start
    {"servers", "ramdisk", "images", OnDelete::refused},
    {"servers", "node", "nodes", OnDelete::stays},
    {"instance_actions", "server", "servers", OnDelete::together},
    {"instance_actions", "user", "users", OnDelete::copied},
    {"instance_actions", "project", "projects", OnDelete::copied},
    {"images", "project", "projects", OnDelete::refused},
    {"volumes", "project", "projects", OnDelete::refused},
    {"volumes", "user", "users", OnDelete::copied},
    {"volumes", "image", "images", OnDelete::while_needed},
    {"volumes", "node", "nodes", OnDelete::stays},
    {"volumes", "server", "servers", OnDelete::cleared},
    {"networks", "project", "projects", OnDelete::refused},
    {"subnets", "network", "networks", OnDelete::together},
    {"subnets", "project", "projects", OnDelete::refused},
    {"ports", "network", "networks", OnDelete::refused},
    {"ports", "project", "projects", OnDelete::refused},
    {"ports", "fixed", "subnets", OnDelete::refused},
    {"ports", "server", "servers", OnDelete::cleared},
    {"nodes", "fencer", "nodes", OnDelete::stays},
    {"leftovers", "node", "nodes", OnDelete::stays},
    {"leftovers", "server", "servers", OnDelete::refused},
    {"usage", "project", "projects", OnDelete::together},
    {"node_use", "node", "nodes", OnDelete::stays},
    {"node_reports", "node", "nodes", OnDelete::stays},
};

const Reference* listed(const char* table, const char* field) {
  for (const auto& one : all)
    if (std::strcmp(one.table, table) == 0 && std::strcmp(one.field, field) == 0) return &one;
  return nullptr;
}

// The table whose rows have ids of this type: those that are a row's whole key, under the name "id".
template <class Row, class I>
concept HasId = std::is_same_v<typename Row::Key, I> && requires(const Row& row) { { row.id } -> std::convertible_to<I>; };

template <class I, class F>
void with_target(const State& state, F&& f) {
  if constexpr (!std::is_same_v<I, AnyId> && !std::is_same_v<I, IntentId>) {
#define TABLE(Row, member) \
  if constexpr (HasId<Row, I>) f(state.member);
#include "projections/tables.def"
#undef TABLE
  }
}

template <class I>
struct IsId : std::false_type {};
template <class Tag>
struct IsId<Id<Tag>> : std::true_type {};

// Calls found(field, target table, id) for each reference of a row's fields, none included.
template <class Row, class Found>
class Visitor {
 public:
  Visitor(const State& state, Found& found) : state_(state), found_(found) {}

  template <class T>
  void operator()(unsigned, const char* field, const T& value) {
    if constexpr (IsId<T>::value) {
      if (std::is_same_v<T, typename Row::Key> && std::strcmp(field, "id") == 0) return;  // its own
      with_target<T>(state_, [&](const auto& table) { found_(field, table, value); });
    } else if constexpr (std::is_same_v<T, std::vector<FixedIp>>) {
      for (const auto& ip : value) found_(field, state_.subnets, ip.subnet);
      if (value.empty()) found_(field, state_.subnets, SubnetId{});
    }
  }

 private:
  const State& state_;
  Found& found_;
};

template <class Row, class Found>
void visit(const State& state, const Row& row, Found&& found) {
  Visitor<Row, std::remove_reference_t<Found>> visitor(state, found);
  Row::fields(row, visitor);
}

template <class Row>
const char* name_of(const Table<Row>&) { return Row::table_name; }

template <class Row>
bool needs(const Row&) { return true; }
template <>
bool needs(const Server& row) { return needs_image(row); }
template <>
bool needs(const Volume& row) { return needs_image(row); }

std::string printed(const std::string& key) {
  std::string text;
  for (const char c : key) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

template <class Row>
void check_row(const State& state, const Row& row, std::string& wrong) {
  visit(state, row, [&](const char* field, const auto& table, const auto& id) {
    if (!id || table.contains(id)) return;
    const Reference* reference = listed(Row::table_name, field);
    if (reference && reference->policy == OnDelete::copied) return;
    if (reference && reference->policy == OnDelete::while_needed && !needs(row)) return;
    wrong += fmt::format("{} {}: its {} is {}, which is not in {}\n", Row::table_name, printed(encode_key(row.key())),
                         field, id.str(), name_of(table));
  });
}

}  // namespace

std::span<const Reference> references() { return all; }

std::map<std::string, const char*> reference_fields() {
  std::map<std::string, const char*> fields;
  const State none;
#define TABLE(Row, member)                                                                   \
  visit(none, Row{}, [&](const char* field, const auto& table, const auto&) {                \
    fields[fmt::format("{}.{}", Row::table_name, field)] = name_of(table);                   \
  });
#include "projections/tables.def"
#undef TABLE
  return fields;
}

// Once it was made it never needs it again: its disk is not made anew.
bool needs_image(const Server& server) { return server.task == TaskState::spawning; }
bool needs_image(const Volume& volume) { return volume.status == VolumeStatus::creating; }

std::map<std::string, std::size_t> owned_by(const State& state, ProjectId project) {
  std::map<std::string, std::size_t> owned;
  const auto count = [&](const auto& row, const char* table_name) {
    visit(state, row, [&](const char* field, const auto&, const auto& id) {
      if constexpr (std::is_same_v<std::decay_t<decltype(id)>, ProjectId>) {
        const Reference* reference = id == project ? listed(table_name, field) : nullptr;
        if (reference && reference->policy == OnDelete::refused) ++owned[table_name];
      }
    });
  };
#define TABLE(Row, member) state.member.each([&](const Row& row) { count(row, Row::table_name); });
#include "projections/tables.def"
#undef TABLE
  return owned;
}

std::string check_references(const State& state) {
  std::string wrong;
#define TABLE(Row, member) state.member.each([&](const Row& row) { check_row(state, row, wrong); });
#include "projections/tables.def"
#undef TABLE
  return wrong;
}

}  // namespace reprise
