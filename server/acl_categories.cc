#include "server/acl_categories.h"

namespace thermocline {

namespace {

constexpr std::string_view kNames[] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

uint32_t OfGroup(const Command& command) {
  switch (command.group) {
    case CommandGroup::kString: return kAclString;
    case CommandGroup::kList: return kAclList;
    case CommandGroup::kSet: return kAclSet;
    case CommandGroup::kSortedSet: return kAclSortedSet;
    case CommandGroup::kHash: return kAclHash;
    case CommandGroup::kTransactions: return kAclTransaction;
    case CommandGroup::kConnection: return kAclConnection;
    case CommandGroup::kScripting: return kAclScripting;
    case CommandGroup::kHyperLogLog: return kAclHyperLogLog;
    case CommandGroup::kGeo: return kAclGeo;
    case CommandGroup::kStream: return kAclStream;
    case CommandGroup::kBitmap: return kAclBitmap;
    case CommandGroup::kGeneric:
      // Commands on any key, but not those that only look generic: SORT works on three types, WAIT on none.
      if ((command.extra_acl & (kAclSet | kAclSortedSet | kAclList | kAclConnection)) != 0) return 0;
      return kAclKeyspace;
    case CommandGroup::kPubSub:  // follows from the flag: PUBSUB HELP has the group, but not the category
    case CommandGroup::kServer:
    case CommandGroup::kCluster:
    case CommandGroup::kSentinel: return 0;
  }
  return 0;
}

}  // namespace

uint32_t AclCategoriesOf(const Command& command) {
  uint32_t categories = command.extra_acl;
  // A bare container does nothing itself, so that it is of no kind.
  if (command.handler != nullptr) categories |= OfGroup(command);
  if ((command.flags & kWrite) != 0) categories |= kAclWrite;
  // A script that may not write is a script all the same.
  if ((command.flags & kReadOnly) != 0 && (categories & kAclScripting) == 0) categories |= kAclRead;
  if ((command.flags & kAdmin) != 0) categories |= kAclAdmin | kAclDangerous;
  if ((command.flags & kPubSub) != 0) categories |= kAclPubSub;
  if ((command.flags & kBlocking) != 0) categories |= kAclBlocking;
  categories |= static_cast<uint32_t>((command.flags & kFast) != 0 ? kAclFast : kAclSlow);
  return categories;
}

std::span<const std::string_view> AclCategoryNames() { return kNames; }

}  // namespace thermocline
