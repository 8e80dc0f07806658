// The files of a server on this node, in a folder of its own that carries id and born:
//   <state>/servers/<id>.<born>/{console.log, config.iso, kernel, ramdisk}
// and <state>/scratch/, where they are made. Kernel and ramdisk are kept as the server's own (a hard
// link where that is possible), so that it starts also after its image was deleted.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "agents/compute/driver.h"
#include "agents/compute/libvirt_driver.h"

namespace reprise::compute {

struct ServerPaths {
  std::string folder;
  std::string console_log;
  std::string config_drive;  // empty: the server has none
  std::string kernel;        // empty: it boots from its disk
  std::string ramdisk;
};

class ServerFiles {
 public:
  ServerFiles(std::string state, storage::ImagePath image_path, OpenSealed open_sealed);

  // Makes the folders and sweeps what a crash left in scratch.
  Status open();
  // Makes what is missing of the server's files; what is there stays.
  Result<ServerPaths> prepare(const ServerWant& server);
  Status remove(ServerId id, Born born);
  // Removes the folders of servers that are not in `keep`: a crash or a failed define left them.
  Status sweep(const std::set<std::pair<ServerId, Born>>& keep);
  // The console log of the youngest life of the server; empty: it never was here.
  std::string console_log(ServerId id) const;
  // Keeps every console log within its limit.
  void trim_console_logs() const;

 private:
  std::string folder(ServerId id, Born born) const;
  Status fetch(ImageId image, const char* what, const std::string& path);
  Status burn_config_drive(const ServerWant& server, const std::string& path);

  std::string state_;
  storage::ImagePath image_path_;
  OpenSealed open_sealed_;
};

}  // namespace reprise::compute
