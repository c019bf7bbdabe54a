#include "command/command_internal.h"
