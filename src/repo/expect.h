/*
 * expect.h - who knows which chunks he will read tells it, and a remote repository fetches them
 * ahead, in few requests.
 */
#ifndef CB_REPO_EXPECT_H
#define CB_REPO_EXPECT_H

#include "repo/repo.h"

/* These will be read once each, about in this order, behind all that was expected before. Only a
   wish: what is not read after all costs time and memory for a while, nothing else. */
void cb_repo_expect(cb_repo *repo, const cb_hash *ids, size_t count);

#endif
