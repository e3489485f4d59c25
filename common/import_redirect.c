/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The one place that knows ELF: redirect an import of loaded objects, and put
 * it back.
 *
 * An object calls a function of another object through a slot in its own
 * data, which the dynamic linker fills.  The slot is named by a relocation:
 * JUMP_SLOT for a call by way of the PLT, GLOB_DAT where the compiler loads
 * the address itself (-fno-plt) or takes the function's address.  Storing
 * another address there redirects that object's calls and nothing else.
 *
 * With -z relro the page is read-only after relocation: it is opened for the
 * one store and closed again.  With lazy binding the slot may still hold the
 * address of the PLT's resolver; that is what is put back then, and the next
 * call resolves it as ever.
 *
 * Facts: System V gABI chapter 5 and the psABI of each CPU; glibc's and
 * musl's dl_iterate_phdr(3).
 */

#include "common/common.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* The relocations that fill an import slot with a plain address. */
#if defined(__x86_64__)
#define RELOC_JUMP_SLOT R_X86_64_JUMP_SLOT
#define RELOC_GLOB_DAT  R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define RELOC_JUMP_SLOT R_AARCH64_JUMP_SLOT
#define RELOC_GLOB_DAT  R_AARCH64_GLOB_DAT
#elif defined(__i386__)
#define RELOC_JUMP_SLOT R_386_JMP_SLOT
#define RELOC_GLOB_DAT  R_386_GLOB_DAT
#elif defined(__arm__)
#define RELOC_JUMP_SLOT R_ARM_JUMP_SLOT
#define RELOC_GLOB_DAT  R_ARM_GLOB_DAT
#elif defined(__s390x__)
#define RELOC_JUMP_SLOT R_390_JMP_SLOT
#define RELOC_GLOB_DAT  R_390_GLOB_DAT
#elif defined(__riscv) && __riscv_xlen == 64
#define RELOC_JUMP_SLOT R_RISCV_JUMP_SLOT
#define RELOC_GLOB_DAT  R_RISCV_64      /* RISC-V has no GLOB_DAT */
#endif
/* Not powerpc64: its ELFv1 slots hold function descriptors. */

/* musl has no __ELF_NATIVE_CLASS */
#if UINTPTR_MAX > 0xffffffff
#define RELOC_SYMBOL(info) ELF64_R_SYM(info)
#define RELOC_TYPE(info)   ELF64_R_TYPE(info)
#else
#define RELOC_SYMBOL(info) ELF32_R_SYM(info)
#define RELOC_TYPE(info)   ELF32_R_TYPE(info)
#endif

/* One slot that was changed; pool: the caller's. */
typedef struct {
    void **slot;
    void *original;
    int read_only;                      /* inside the object's RELRO pages */
} import_slot;

/* What the walk over the loaded objects looks for, and what it found. */
typedef struct {
    uintptr_t inside;                   /* 0: in every object... */
    uintptr_t outside;                  /* ...but the one with this address */
    const char *symbol;
    apr_array_header_t *slots;          /* of import_slot */
    const struct dl_phdr_info *object;  /* valid during the walk only */
    apr_status_t status;
    const char *reason;
} import_search;

/* A table of the dynamic section. */
typedef struct {
    const char *start;
    size_t size;
} table;

#ifdef RELOC_JUMP_SLOT

/*
 * Are SIZE bytes from START within one segment of the object that may be read
 * (PF_R), or written to but for RELRO (PF_W)?
 */
static int is_mapped(const struct dl_phdr_info *object, uintptr_t start,
                     size_t size, ElfW(Word) access)
{
    int i;

    for (i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &object->dlpi_phdr[i];
        uintptr_t low = object->dlpi_addr + ph->p_vaddr;

        if (ph->p_type == PT_LOAD && (ph->p_flags & access) && start >= low
            && start - low <= ph->p_memsz
            && size <= ph->p_memsz - (start - low)) {
            return 1;
        }
    }
    return 0;
}

/* The same for a table of what is aligned as addresses are. */
static int is_table(const struct dl_phdr_info *object, uintptr_t start,
                    size_t size)
{
    return start % sizeof(void *) == 0
           && is_mapped(object, start, size, PF_R);
}

/*
 * The address a dynamic entry points at.  glibc relocates most of these
 * entries in place, other linkers (and glibc where the section is read-only)
 * leave them relative to the load address.
 */
static uintptr_t entry_address(const struct dl_phdr_info *object,
                               const ElfW(Dyn) *entry)
{
    uintptr_t address = entry->d_un.d_ptr;

    if (!is_mapped(object, address, 1, PF_R)) {
        address += object->dlpi_addr;
    }
    return is_mapped(object, address, 1, PF_R) ? address : 0;
}

/* Is this slot on a page that is made read-only after relocation? */
static int is_relro(const struct dl_phdr_info *object, uintptr_t slot)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    int i;

    for (i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &object->dlpi_phdr[i];
        uintptr_t low = object->dlpi_addr + ph->p_vaddr;

        /* the linkers protect whole pages: start and end rounded down */
        if (ph->p_type == PT_GNU_RELRO && slot >= (low & ~(page - 1))
            && slot < ((low + ph->p_memsz) & ~(page - 1))) {
            return 1;
        }
    }
    return 0;
}

/*
 * Note the slots in one relocation table (of Rela or Rel records, ENTRY bytes
 * each: both begin with offset and info) that import the symbol.  Whatever
 * points out of the object, or at what is not for writing (relocations of the
 * text), is passed over.
 */
static void note_slots(import_search *search, table relocs, size_t entry,
                       uintptr_t symbols, table strings)
{
    const struct dl_phdr_info *object = search->object;
    size_t length = strlen(search->symbol) + 1;
    size_t at;

    for (at = 0; entry && at + entry <= relocs.size; at += entry) {
        const ElfW(Rel) *rel = (const void *)(relocs.start + at);
        const ElfW(Sym) *symbol;
        uintptr_t slot = object->dlpi_addr + rel->r_offset;
        import_slot *found;

        if (RELOC_TYPE(rel->r_info) != RELOC_JUMP_SLOT
            && RELOC_TYPE(rel->r_info) != RELOC_GLOB_DAT) {
            continue;
        }
        symbol = (const void *)(symbols + RELOC_SYMBOL(rel->r_info)
                                          * sizeof(*symbol));
        if (!is_table(object, (uintptr_t)symbol, sizeof(*symbol))
            || symbol->st_name >= strings.size
            || strings.size - symbol->st_name < length
            || memcmp(strings.start + symbol->st_name, search->symbol,
                      length) != 0) {
            continue;
        }
        if (slot % sizeof(void *)
            || !is_mapped(object, slot, sizeof(void *), PF_W)) {
            continue;
        }
        found = apr_array_push(search->slots);
        found->slot = (void **)slot;
        found->original = *found->slot;
        found->read_only = is_relro(object, slot);
    }
}

/* The table of relocations, or none if it is not all there. */
static table relocations(const struct dl_phdr_info *object, uintptr_t start,
                         size_t size)
{
    table t = { NULL, 0 };

    if (start && is_table(object, start, size)) {
        t.start = (const char *)start;
        t.size = size;
    }
    return t;
}

/* Find the import slots of the object at hand. */
static void search_object(import_search *search)
{
    const struct dl_phdr_info *object = search->object;
    const ElfW(Dyn) *entry = NULL;
    uintptr_t jmprel = 0, rela = 0, rel = 0, strtab = 0, symbols = 0;
    size_t jmprel_size = 0, rela_size = 0, rel_size = 0, strtab_size = 0;
    size_t entries = 0;
    int plt_is_rela = 0;
    table strings = { NULL, 0 };
    int i;

    for (i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &object->dlpi_phdr[i];

        if (ph->p_type == PT_DYNAMIC
            && is_table(object, object->dlpi_addr + ph->p_vaddr,
                        ph->p_memsz)) {
            entry = (const void *)(object->dlpi_addr + ph->p_vaddr);
            entries = ph->p_memsz / sizeof(*entry);
        }
    }
    for (; entries && entry->d_tag != DT_NULL; entries--, entry++) {
        switch (entry->d_tag) {
        case DT_JMPREL:
            jmprel = entry_address(object, entry);
            break;
        case DT_PLTRELSZ:
            jmprel_size = entry->d_un.d_val;
            break;
        case DT_PLTREL:
            plt_is_rela = (entry->d_un.d_val == DT_RELA);
            break;
        case DT_RELA:
            rela = entry_address(object, entry);
            break;
        case DT_RELASZ:
            rela_size = entry->d_un.d_val;
            break;
        case DT_REL:
            rel = entry_address(object, entry);
            break;
        case DT_RELSZ:
            rel_size = entry->d_un.d_val;
            break;
        case DT_SYMTAB:
            symbols = entry_address(object, entry);
            break;
        case DT_STRTAB:
            strtab = entry_address(object, entry);
            break;
        case DT_STRSZ:
            strtab_size = entry->d_un.d_val;
            break;
        default:
            break;
        }
    }

    if (strtab && is_mapped(object, strtab, strtab_size, PF_R)) {
        strings.start = (const char *)strtab;
        strings.size = strtab_size;
    }
    if (!symbols || !strings.start) {
        if (search->inside) {
            search->status = APR_EINVAL;
            search->reason = "the object has no dynamic symbol table";
        }
        return;
    }
    note_slots(search, relocations(object, jmprel, jmprel_size),
               plt_is_rela ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel)),
               symbols, strings);
    note_slots(search, relocations(object, rela, rela_size),
               sizeof(ElfW(Rela)), symbols, strings);
    note_slots(search, relocations(object, rel, rel_size),
               sizeof(ElfW(Rel)), symbols, strings);

    if (search->slots->nelts) {
        search->status = APR_SUCCESS;
    }
    else if (search->inside) {
        search->reason = "the object does not import the function";
    }
}

/* dl_iterate_phdr() callback: non-zero ends the walk. */
static int search_if_meant(struct dl_phdr_info *object, size_t size,
                           void *baton)
{
    import_search *search = baton;

    if (search->inside ? !is_mapped(object, search->inside, 1, PF_R)
                       : is_mapped(object, search->outside, 1, PF_R)) {
        return 0;
    }
    search->object = object;
    search_object(search);
    search->object = NULL;
    return search->inside != 0;
}

static apr_status_t find_slots(import_search *search)
{
    search->status = APR_ENOENT;
    search->reason = search->inside ? "no loaded object contains the address"
                                    : "no loaded object imports the function";
    dl_iterate_phdr(search_if_meant, search);
    return search->status;
}

#else /* !RELOC_JUMP_SLOT */

static apr_status_t find_slots(import_search *search)
{
    search->reason = "the relocations of this CPU are not known here";
    return APR_ENOTIMPL;
}

#endif /* RELOC_JUMP_SLOT */

/* Store VALUE in a slot, opening its page if need be. */
static apr_status_t store(const import_slot *slot, void *value)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)slot->slot & ~(page - 1));

    /* a slot is aligned to its size, so it is on one page */
    if (slot->read_only && mprotect(start, page, PROT_READ | PROT_WRITE)) {
        return errno;
    }
    *(void *volatile *)slot->slot = value;
    /* should closing fail, the store has happened all the same */
    if (slot->read_only && mprotect(start, page, PROT_READ)) {
        return errno;
    }
    return APR_SUCCESS;
}

/*
 * Keep the object of REPLACEMENT in memory for good: somebody goes on calling
 * it, when this module has been unloaded.
 */
static void keep_loaded(void *replacement)
{
    Dl_info own;

    if (dladdr(replacement, &own)) {
        dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

/* Pool cleanup: every slot as it was found. */
static apr_status_t put_back(void *data)
{
    apr_array_header_t *slots = data;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < slots->nelts; i++) {
        const import_slot *slot = &APR_ARRAY_IDX(slots, i, import_slot);
        apr_status_t status = store(slot, slot->original);

        if (status != APR_SUCCESS) {
            rv = status;
            keep_loaded(*slot->slot);
        }
    }
    return rv;
}

apr_status_t mptcp_import_redirect(const void *inside, const char *symbol,
                                   void *replacement, apr_pool_t *p,
                                   const char **reason)
{
    import_search search = { 0 };
    apr_status_t rv;
    int i;

    search.inside = (uintptr_t)inside;
    search.outside = (uintptr_t)replacement;
    search.symbol = symbol;
    search.slots = apr_array_make(p, 1, sizeof(import_slot));
    rv = find_slots(&search);
    if (rv != APR_SUCCESS) {
        *reason = search.reason;
        return rv;
    }

    for (i = 0; i < search.slots->nelts; i++) {
        rv = store(&APR_ARRAY_IDX(search.slots, i, import_slot), replacement);
        if (rv != APR_SUCCESS) {
            put_back(search.slots);
            *reason = "mprotect() was refused";
            return rv;
        }
    }
    apr_pool_cleanup_register(p, search.slots, put_back,
                              apr_pool_cleanup_null);
    return APR_SUCCESS;
}
