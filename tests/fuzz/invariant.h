// A CHECK that fails ends the process, as it must. Under a fuzzer it ends only the input: linked in place of
// events/check.cc's by the linker's --wrap.
#pragma once

namespace reprise::fuzz {

struct Invariant {};

template <class F>
void until_invariant(F&& f) {
  try {
    f();
  } catch (const Invariant&) {
  }
}

}  // namespace reprise::fuzz
