// Scripts: commands in, transcript out (style.md, "Tests"). Production controller, agents and folds over
// the simulated log and hosts, without faults, in virtual time.
//
//   create-server s1 image=i1 nic=n1        a command a line; names are labels for ids
//   ----
//   ServerCreated s1 …                      every event until all is quiet, in words
//
// Blocks are separated by an empty line; '#' begins a comment line. Left out of the transcript are
// seqs, deadlines and what is always the same.
#pragma once

#include <string>
#include <vector>

namespace reprise::script {

struct Block {
  std::vector<std::string> comments;
  std::vector<std::string> commands;
  std::string transcript;        // as written in the file
};

std::vector<Block> parse(const std::string& text);
std::string print(const std::vector<Block>& blocks);

// What a transcript must not depend on: whom to kill, and at which step of the run. step 0: nobody.
struct Kill {
  enum Who { nobody, controller, agent } who = nobody;
  int step = 0;                  // 1, 2, 3 … counted in folded records
};

struct Run {
  std::vector<std::string> transcripts;  // one a block
  std::string trouble;                   // why it could not be run to its end
  int records = 0;
};
Run run(const std::vector<Block>& blocks, const Kill& kill = {});

// The intents that the commands of a script use, by name.
std::vector<std::string> intents_of(const std::vector<Block>& blocks);

}  // namespace reprise::script
