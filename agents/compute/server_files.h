// The files of a server on this node, in a folder of its own that carries id and born:
//   <state>/servers/<id>.<born>/{console.log, config.iso, config.iso.key, kernel, ramdisk}
// and <state>/scratch/, where they are made. Kernel and ramdisk are copies, the server's own: it starts
// also after its image was deleted, and libvirt gives them to QEMU's user, which must not own the image.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

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

  // Sweeps what a crash left in scratch. A folder that cannot be made here is made, or told, by prepare().
  void open();
  // Makes what is missing of the server's files, and its config drive anew if it would say something
  // else now. May be called for several servers at once.
  Result<ServerPaths> prepare(const ServerWant& server);
  Status remove(ServerId id, Born born);
  // Those that have a folder here.
  std::vector<std::pair<ServerId, Born>> list() const;
  // Removes the folders that a crash or a failed define left; one that cannot be stays for the next time.
  void sweep(const std::function<bool(ServerId, Born)>& keep);
  // The console log of the youngest life of the server; empty: it never was here.
  std::string console_log(ServerId id) const;
  // Keeps every console log within its limit.
  void trim_console_logs() const;

 private:
  std::string folder(ServerId id, Born born) const;
  Status make_folders() const;
  Status fill(const ServerWant& server, const std::string& scratch, ServerPaths& paths);
  Status fetch(ImageId image, const char* what, const std::string& scratch, const std::string& path);
  Status burn_config_drive(const ServerWant& server, const std::string& scratch, const std::string& path);

  std::string state_;
  storage::ImagePath image_path_;
  OpenSealed open_sealed_;
};

}  // namespace reprise::compute
