// The types of the module `countersign`, which the engine brings: for editors.
declare module 'countersign' {
  /**
   * The token may be issued. A grant narrows it. The answer of a policy that says who may have a token.
   */
  export function permit(grant?: Grant): Verdict;
  /**
   * If the token is issued, then within the grant: narrows as a permit does, and never counts as one. The answer of a
   * policy that limits tokens and does not say who may have them.
   */
  export function restrict(grant?: Grant): Verdict;
  /**
   * The token must not be issued.
   * @param code For machines: 1 to 64 lower-case letters, digits and dashes; it stays the same over versions.
   * @param message For people: what was wrong, and what would be right.
   */
  export function deny(code: string, message: string): Verdict;
  /**
   * The token must not be issued, for several reasons: at least 1; a host keeps the first 16.
   */
  export function deny(reasons: Reason[]): Verdict;
  /**
   * The policy has nothing to say about this run. If no policy permits, the host refuses.
   */
  export function abstain(): Verdict;
  /**
   * The date and the time of day by the clocks of a time zone.
   * @param zone The zone by its IANA name, such as `Europe/Berlin`.
   * @param seconds A time in whole seconds since 1970, such as `token.issuedAt`.
   */
  export function localTime(zone: string, seconds: bigint | number): LocalTime;
  /**
   * A local date and time of day.
   */
  export interface LocalTime {
    readonly year: number,
    /** 1 to 12. */
    readonly month: number,
    readonly day: number,
    /** 1, a Monday, to 7. */
    readonly weekday: number,
    readonly hour: number,
    readonly minute: number,
    readonly second: number,
    /** The seconds by which the clocks are ahead of UTC. */
    readonly offset: number,
  }
  /**
   * A policy as one object, exported as `policy`; the same as exporting its functions.
   */
  export function policy<Settings>(policy: Policy<Settings>): Policy<Settings>;
  export interface Policy<Settings> {
    name?: string,
    version?: string,
    summary?: string,
    /** A JSON Schema of the settings: type, properties, items, enum, pattern, and bounds. */
    settingsSchema?: object,
    check?: (settings: any) => Problem[],
    evaluate: (settings: Settings, run: Run, token: Token) => Verdict,
  }
  /**
   * A verdict. Only the functions above make one.
   */
  export interface Verdict {
    readonly tag: 'permit' | 'restrict' | 'deny' | 'abstain',
  }
  /**
   * What a permit or a restriction narrows. A key that is not known, or has no value, is an error.
   */
  export interface Grant {
    /**
     * A ceiling for the token's lifetime, in whole seconds: 1 or more.
     */
    maxTtl?: number,
    /**
     * The audiences to keep, of those that are requested.
     */
    audiences?: string[],
    /**
     * Claims to add to the token: names that the operator allowed for the binding.
     */
    claims?: Record<string, string>,
  }
  /**
   * One reason of a denial.
   */
  export interface Reason {
    code: string,
    message: string,
  }
  /**
   * One thing wrong with settings.
   */
  export interface Problem {
    /**
     * Where: a JSON pointer (RFC 6901) into the policy's settings; empty for the whole.
     */
    pointer: string,
    /**
     * What is wrong there and what was expected.
     */
    message: string,
  }
  /**
   * What the run is about to do.
   *
   * There is no case for an unknown behavior: a host refuses such a run before any policy.
   * # Variants
   *
   * ## `"apply"`
   *
   * Create or change the resources (`APPLY`).
   * ## `"detect"`
   *
   * A dry run: compare, change nothing (`DETECT`).
   * ## `"destroy"`
   *
   * Delete the resources (`DESTROY`).
   */
  export type Behavior = 'apply' | 'detect' | 'destroy';
  /**
   * How a building block definition is implemented.
   * # Variants
   *
   * ## `"manual"`
   *
   * Done by people (`MANUAL`).
   * ## `"terraform"`
   *
   * OpenTofu or Terraform (`TERRAFORM`).
   * ## `"github-workflow"`
   *
   * A GitHub Actions workflow (`GITHUB_WORKFLOW`).
   * ## `"gitlab-cicd"`
   *
   * A GitLab pipeline (`GITLAB_CICD`).
   * ## `"azure-devops"`
   *
   * An Azure DevOps pipeline (`AZURE_DEVOPS`).
   * ## `"other"`
   *
   * One that this version of the contract has no name for. A host that knows more passes
   * the name as the fact `implementation-type`. Hosts of 1.0 never send it.
   */
  export type Implementation = 'manual' | 'terraform' | 'github-workflow' | 'gitlab-cicd' | 'azure-devops' | 'other';
  /**
   * Who, or what, triggered a run.
   * # Variants
   *
   * ## `"user"`
   *
   * A person (`User`).
   * ## `"api-key"`
   *
   * A machine account of a workspace (`ApiKey`).
   * ## `"api-user"`
   *
   * A machine account of the whole platform (`ApiUser`).
   * ## `"system"`
   *
   * The platform itself, for example a scheduled check (`System`).
   * ## `"other"`
   *
   * One that this version of the contract has no name for. A host that knows more passes
   * the name as the fact `author-kind`. Hosts of 1.0 never send it.
   */
  export type AuthorKind = 'user' | 'api-key' | 'api-user' | 'system' | 'other';
  /**
   * A building block that this run's building block depends on.
   */
  export interface Parent {
    /**
     * UUID of the parent building block: 36 characters, lower case.
     */
    buildingBlock: string,
    /**
     * UUID of the parent's definition: 36 characters, lower case.
     */
    definition: string,
  }
  /**
   * The thing that is being applied, checked or destroyed: one use of a definition.
   */
  export interface BuildingBlock {
    /**
     * UUID: 36 characters, lower case.
     */
    id: string,
    /**
     * The owning workspace (the consumer): `^[a-z0-9]+(-[a-z0-9]+)*$`, 1 to 63 bytes.
     */
    workspace: string,
    /**
     * The project, where the building block belongs to one: `^[a-z0-9]+(-[a-z0-9]+)*$`, 1 to
     * 63 bytes.
     */
    project?: string,
    /**
     * The full platform identifier `<platform>.<location>`, where there is one: two
     * identifiers of the same form as a workspace, joined by one dot.
     */
    platform?: string,
    /**
     * The direct parents, in the order of the run object; at most 256.
     */
    parents: Array<Parent>,
  }
  /**
   * The building block definition: what the platform team offers.
   */
  export interface Definition {
    /**
     * UUID: 36 characters, lower case.
     */
    id: string,
    /**
     * The definition workspace (the platform team): `^[a-z0-9]+(-[a-z0-9]+)*$`, 1 to 63
     * bytes.
     */
    workspace: string,
    /**
     * Version of the definition, 0 to 2^53 - 1.
     */
    version: bigint,
    /**
     * How the definition is implemented.
     */
    implementation: Implementation,
  }
  /**
   * Why the run exists.
   */
  export interface Trigger {
    /**
     * The platform's word for the cause, where it gives one: 1 to 1,024 bytes, no control
     * characters. For people to read; not a closed vocabulary.
     */
    reason?: string,
    /**
     * Identifier of who triggered the run, such as a user name or the UUID of an API key:
     * 1 to 255 bytes, no control characters. Unique within its kind, not across kinds.
     */
    author: string,
    /**
     * What kind of author that is.
     */
    authorKind: AuthorKind,
  }
  /**
   * The verified facts of the run that asks for a token.
   */
  export interface Run {
    /**
     * UUID of the run: 36 characters, lower case.
     */
    id: string,
    /**
     * Number of the run, 0 to 2^53 - 1, increasing with every run of its building block.
     */
    number: bigint,
    /**
     * What the run is about to do.
     */
    behavior: Behavior,
    /**
     * What it does it to.
     */
    buildingBlock: BuildingBlock,
    /**
     * The definition that the building block is a use of.
     */
    definition: Definition,
    /**
     * Why the run exists. Absent where the platform does not say: treat absence as "not
     * known to be a person".
     */
    trigger?: Trigger,
    /**
     * UUID of the runner that executes the run, where the host knows it: 36 characters,
     * lower case. Runners are shared; the identity is the run's.
     */
    runner?: string,
    /**
     * What later hosts know beyond this record; at most 64, each name once. Ignore the names
     * you do not know. By their names: 1 to 128 bytes of `A-Z a-z 0-9 . _ : / -`, beginning with a
     * letter. Values have 0 to 1,024 bytes and no control characters.
     */
    facts: { readonly [name: string]: string | undefined },
  }
  /**
   * The requested token.
   */
  export interface Token {
    /**
     * The subject (`sub`, RFC 7519 section 4.1.2) that the token would carry; 1 to 600 bytes
     * of printable ASCII. A policy cannot change it.
     */
    subject: string,
    /**
     * The requested audiences (`aud`, section 4.1.3): 1 to 10, each 1 to 256 bytes of
     * printable ASCII, none twice.
     */
    audiences: Array<string>,
    /**
     * The requested lifetime, in seconds: 1 to 86,400.
     */
    ttlSeconds: number,
    /**
     * The time the token would be issued at (`iat`, section 4.1.6): seconds since
     * 1970-01-01T00:00:00Z, leap seconds not counted. The only notion of time a policy has.
     */
    issuedAt: bigint,
  }
}
