// Which servers a list shows, and in what order: nova's query.
#pragma once

#include <functional>

#include "controlplane/api/ask.h"

namespace reprise::api {

class ServerFilter {
 public:
  ServerFilter(Ask& ask, unsigned minor) : ask_(ask), minor_(minor) {}

  // Reads the query; mistakes are noted in the Ask. A refusal that is not a 400 is returned.
  std::optional<Response> read();
  // The servers wanted, sorted; the page is not cut yet.
  std::vector<Server> servers() const;

 private:
  using Test = std::function<bool(const Server&)>;

  std::optional<Response> read_projects();
  std::optional<Response> read_states();
  void read_names();
  void read_refs();
  void read_times();
  void read_admins();
  void read_addresses();
  void read_absent();
  void read_order();
  void refuse_unknown();
  // A test made of a query value, for each time that it is there.
  template <class Make>
  void add(std::string_view key, Make make);
  Test pattern(std::string_view key, std::string_view text, std::string Server::*member);

  Ask& ask_;
  const unsigned minor_;
  bool all_projects_ = false;
  bool nothing_ = false;  // what is asked for cannot be
  ProjectId project_;     // whose; none: everybody's
  std::vector<Test> tests_;
  std::vector<std::function<int(const Server&, const Server&)>> order_;
};

}  // namespace reprise::api
