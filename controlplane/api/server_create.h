// What POST /servers may say, read and checked in nova's words.
#pragma once

#include "controlplane/api/ask.h"

namespace reprise::api {

inline constexpr std::size_t user_data_base64_max = 65535;
inline constexpr std::size_t metadata_items_max = 128;

class ServerRequest {
 public:
  ServerRequest(Ask& ask, unsigned minor) : ask_(ask), minor_(minor) {}

  // Reads the body; every mistake is noted in the Ask. Networks and place are still as they were wished.
  CreateServer read();
  // Turns "auto", "none" and networks that were left out into what they mean in this project.
  std::optional<Response> choose_networks(CreateServer& intent);
  // ZONE:HOST is an admin's; a zone without nodes is refused.
  std::optional<Response> choose_place(CreateServer& intent);
  // Decoded.
  const std::string& user_data() const { return user_data_; }
  const std::string& admin_pass() const { return admin_pass_; }

 private:
  enum class Networks { absent, automatic, none, listed };

  void read_networks(Fields& server, CreateServer& intent);
  void read_nic(Fields& nic, CreateServer& intent);
  void read_user_data(Fields& server);
  void read_metadata(Fields& server, CreateServer& intent);
  void read_counts(Fields& server);
  void read_later_fields(Fields& server, CreateServer& intent);
  void refuse_what_is_not_made(Fields& server);

  Ask& ask_;
  const unsigned minor_;
  Networks networks_ = Networks::absent;
  std::string user_data_;
  std::string admin_pass_;
};

// "name": 1 to 255 characters, not spaces alone. Nothing when it is absent and need not be there.
std::optional<std::string> read_server_name(Fields& server, bool required);
// accessIPv4 and accessIPv6 are not kept: only empty ones pass.
void refuse_access_addresses(Fields& server);
// The guest's host name, out of the server's name (as nova's sanitize_hostname).
std::string hostname_of(std::string_view name, ServerId id);
std::string encode_base64(std::string_view bytes);

}  // namespace reprise::api
